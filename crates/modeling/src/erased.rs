//! burn's `Module` behind an object-safe face.
//!
//! `Module` visits and maps parameters through methods that are generic over the rank, so it cannot be a trait object.
//! Here a parameter of any rank is one enum, the generic calls of a concrete module are turned into calls with that
//! enum, and on the far side back into generic calls: optimizers and stores see through the box.

use std::any::Any;

use burn::module::{ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Int, Tensor};

use crate::nn::ADAPTER_CONTAINER;
use crate::parameters::{Names, named};

/// Quantised blocks, `[out, blocks of a row, bytes of a block]`: see [`Weight`](transformers_ops::Weight).
pub type Blocks = Tensor<3, Int>;

macro_rules! parameters_by_rank {
    ($($variant:ident = $rank:literal),+) => {
        /// A borrowed parameter: floats of any rank, or quantised blocks.
        #[derive(Debug)]
        pub enum ParameterRef<'a> {
            $(#[doc = concat!("Rank ", $rank, ".")] $variant(&'a Param<Tensor<$rank>>),)+
            /// Quantised blocks.
            Blocks(&'a Param<Blocks>),
        }

        /// An owned parameter: floats of any rank, or quantised blocks.
        #[derive(Debug, Clone)]
        pub enum Parameter {
            $(#[doc = concat!("Rank ", $rank, ".")] $variant(Param<Tensor<$rank>>),)+
            /// Quantised blocks.
            Blocks(Param<Blocks>),
        }

        impl<'a> ParameterRef<'a> {
            fn new<const D: usize>(param: &'a Param<Tensor<D>>) -> Self {
                let any: &dyn Any = param;
                match D {
                    $($rank => Self::$variant(any.downcast_ref().expect("the rank was matched"))),+,
                    _ => unreachable!("{}", RANKS),
                }
            }

            pub(crate) fn to_parameter(&self) -> Parameter {
                match self {
                    $(Self::$variant(param) => Parameter::$variant((*param).clone()),)+
                    Self::Blocks(param) => Parameter::Blocks((*param).clone()),
                }
            }

            /// The sizes of its dimensions.
            pub(crate) fn shape(&self) -> Vec<usize> {
                match self {
                    $(Self::$variant(param) => param.lazy_shape().as_slice().to_vec(),)+
                    Self::Blocks(param) => param.lazy_shape().as_slice().to_vec(),
                }
            }

            fn visit_with<V: ModuleVisitor>(self, visitor: &mut V) {
                match self {
                    $(Self::$variant(param) => visitor.visit_float(param),)+
                    Self::Blocks(param) => visitor.visit_int(param),
                }
            }
        }

        impl Parameter {
            fn new<const D: usize>(param: Param<Tensor<D>>) -> Self {
                let any: Box<dyn Any> = Box::new(param);
                match D {
                    $($rank => Self::$variant(*any.downcast().expect("the rank was matched"))),+,
                    _ => unreachable!("{}", RANKS),
                }
            }

            pub(crate) fn as_ref(&self) -> ParameterRef<'_> {
                match self {
                    $(Self::$variant(param) => ParameterRef::$variant(param),)+
                    Self::Blocks(param) => ParameterRef::Blocks(param),
                }
            }

            pub(crate) fn into_param<const D: usize>(self) -> Param<Tensor<D>> {
                let any: Box<dyn Any> = match self {
                    $(Self::$variant(param) => Box::new(param),)+
                    Self::Blocks(param) => Box::new(param),
                };
                *any.downcast().expect("a mapper keeps the rank")
            }

            fn map_with<M: ModuleMapper>(self, mapper: &mut M) -> Self {
                match self {
                    $(Self::$variant(param) => Self::$variant(mapper.map_float(param)),)+
                    Self::Blocks(param) => Self::Blocks(mapper.map_int(param)),
                }
            }
        }
    };
}

const RANKS: &str = "parameters have one to five dimensions";
parameters_by_rank!(Rank1 = 1, Rank2 = 2, Rank3 = 3, Rank4 = 4, Rank5 = 5);

/// [`ModuleVisitor`] without generic methods.
pub trait ParameterVisitor {
    /// A parameter.
    fn visit(&mut self, param: ParameterRef<'_>);
    /// A field that holds modules is entered.
    fn enter(&mut self, name: &str, container: &str);
    /// It is left again.
    fn exit(&mut self, name: &str, container: &str);
}

/// [`ModuleMapper`] without generic methods.
pub trait ParameterMapper {
    /// A parameter; the result has the same rank and kind.
    fn map(&mut self, param: Parameter) -> Parameter;
    /// A field that holds modules is entered.
    fn enter(&mut self, name: &str, container: &str);
    /// It is left again.
    fn exit(&mut self, name: &str, container: &str);
}

/// Shows a concrete module's parameters to an erased visitor under the family's names; of integer ones only blocks are
/// parameters.
pub(crate) struct Erase<'a, T: ?Sized> {
    pub erased: &'a mut T,
    pub names: Names,
}

impl<T: ?Sized> Erase<'_, T> {
    /// An adapter has the name that its user gave it.
    fn name<'a>(&self, name: &'a str, container: &str) -> &'a str {
        match container {
            ADAPTER_CONTAINER => name,
            _ => named(self.names, name),
        }
    }
}

impl ModuleVisitor for Erase<'_, dyn ParameterVisitor + '_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.erased.visit(ParameterRef::new(param));
    }
    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        let any: &dyn Any = param;
        if let Some(blocks) = any.downcast_ref() {
            self.erased.visit(ParameterRef::Blocks(blocks));
        }
    }
    fn enter_module(&mut self, name: &str, container: &str) {
        self.erased.enter(self.name(name, container), container);
    }
    fn exit_module(&mut self, name: &str, container: &str) {
        self.erased.exit(self.name(name, container), container);
    }
}

impl ModuleMapper for Erase<'_, dyn ParameterMapper + '_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.erased.map(Parameter::new(param)).into_param()
    }
    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        let mut any: Box<dyn Any> = Box::new(param);
        any = match any.downcast::<Param<Blocks>>() {
            Ok(blocks) => match self.erased.map(Parameter::Blocks(*blocks)) {
                Parameter::Blocks(blocks) => Box::new(blocks),
                other => unreachable!("a mapper keeps the kind, but gave {other:?}"),
            },
            Err(other) => other,
        };
        *any.downcast().expect("it has the type that it came with")
    }
    fn enter_module(&mut self, name: &str, container: &str) {
        self.erased.enter(self.name(name, container), container);
    }
    fn exit_module(&mut self, name: &str, container: &str) {
        self.erased.exit(self.name(name, container), container);
    }
}

/// Gives erased parameters back to a generic visitor or mapper.
pub(crate) struct Restore<'a, T>(pub &'a mut T);

impl<V: ModuleVisitor> ParameterVisitor for Restore<'_, V> {
    fn visit(&mut self, param: ParameterRef<'_>) {
        param.visit_with(self.0);
    }
    fn enter(&mut self, name: &str, container: &str) {
        self.0.enter_module(name, container);
    }
    fn exit(&mut self, name: &str, container: &str) {
        self.0.exit_module(name, container);
    }
}

impl<M: ModuleMapper> ParameterMapper for Restore<'_, M> {
    fn map(&mut self, param: Parameter) -> Parameter {
        param.map_with(self.0)
    }
    fn enter(&mut self, name: &str, container: &str) {
        self.0.enter_module(name, container);
    }
    fn exit(&mut self, name: &str, container: &str) {
        self.0.exit_module(name, container);
    }
}
