//! Every operation has two bodies. Here they are compared with each other, on odd shapes, views and every option, and the
//! gradients that autodiff derives from the one in burn primitives are compared with central differences of the kernels.

mod activation;
mod attention;
mod derivatives;
mod experts;
mod frozen;
mod gradients;
mod linear;
mod norm;
mod packed;
mod rotary;
mod scan;
mod softmax;
mod twin;
mod write;
