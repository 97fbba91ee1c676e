//! Reading GGUF: values equal to the reference's to the last bit, names, reordered heads, and hostile files.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use transformers_config::gguf::{GgufArray, GgufValue};
use transformers_weights::conversion_mapping::gguf::GgufMapping;
use transformers_weights::{
    Checkpoint, DType, GgufTensor, GgufType, HeadCounts, HostTensor, LazyTensor, OpenOptions,
    Result, save_gguf,
};

use crate::gguf_file::GgufFile;
use crate::{check_error, golden, read_instead_of_mapping};

const FORMATS: [(&str, u32, u64); 16] = [
    ("F32", 0, 1),
    ("F16", 1, 1),
    ("BF16", 30, 1),
    ("Q4_0", 2, 32),
    ("Q4_1", 3, 32),
    ("Q5_0", 6, 32),
    ("Q5_1", 7, 32),
    ("Q8_0", 8, 32),
    ("Q4_K", 12, 256),
    ("Q5_K", 13, 256),
    ("Q6_K", 14, 256),
    ("Q2_K", 10, 256),
    ("Q3_K", 11, 256),
    ("IQ4_NL", 20, 32),
    ("IQ4_XS", 23, 256),
    ("MXFP4", 39, 32),
];

struct Written {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn write(bytes: &[u8]) -> Written {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    fs::write(&path, bytes).unwrap();
    Written {
        _folder: folder,
        path,
    }
}

fn open(bytes: &[u8]) -> Result<Checkpoint> {
    Checkpoint::open_file(&write(bytes).path, &OpenOptions::default())
}

fn values(checkpoint: &Checkpoint, name: &str) -> Vec<f32> {
    let tensor = checkpoint.tensor(name).unwrap().cast(DType::F32).unwrap();
    tensor.as_slice().unwrap().to_vec()
}

fn expected_blocks() -> Checkpoint {
    Checkpoint::open_file(&golden("gguf_blocks.safetensors"), &OpenOptions::default()).unwrap()
}

#[test]
fn every_format_equals_the_reference_bit_for_bit() {
    let expected = expected_blocks();
    let mut file = GgufFile::new("llama");
    for (layer, (name, ggml_type, len)) in (0..).zip(FORMATS) {
        let blocks = expected.tensor(&format!("{name}.blocks")).unwrap();
        let tensor = format!("blk.{layer}.ffn_up.weight");
        file = file.tensor(&tensor, &[3, len], ggml_type, blocks.bytes());
    }
    for options in [OpenOptions::default(), read_instead_of_mapping()] {
        let checkpoint = Checkpoint::open_file(&write(&file.bytes()).path, &options).unwrap();
        for (layer, (name, _, len)) in (0..).zip(FORMATS) {
            let tensor = format!("model.layers.{layer}.mlp.up_proj.weight");
            assert_eq!(checkpoint.shape(&tensor).unwrap(), [3, len as usize]);
            let bits =
                |values: Vec<f32>| -> Vec<u32> { values.into_iter().map(f32::to_bits).collect() };
            assert_eq!(
                bits(values(&checkpoint, &tensor)),
                bits(values(&expected, &format!("{name}.values"))),
                "{name}"
            );
        }
        assert_eq!(checkpoint.dtype_hint(), Some(DType::F32));
    }
}

#[test]
fn names_are_those_of_the_gguf_package() {
    let text = fs::read_to_string(golden("gguf_names.json")).unwrap();
    let architectures: BTreeMap<String, BTreeMap<String, String>> =
        serde_json::from_str(&text).unwrap();
    assert_eq!(architectures.len(), 6);
    // What nothing comes after.
    let whole = |name: &str| match name.ends_with("A_log") || name.ends_with(".D") {
        true => name.to_owned(),
        false => format!("{name}.weight"),
    };
    for (architecture, names) in architectures {
        let architecture: &'static str = architecture.leak();
        // One head, so that any two rows can be reordered.
        let mut file =
            GgufFile::new(architecture).number(&format!("{architecture}.attention.head_count"), 1);
        for (name, gguf_name) in &names {
            let suffix = whole(name)[name.len()..].to_owned();
            let stored = match name.ends_with("A_log") {
                true => [-1.0, -2.0],
                false => [1.0, 2.0],
            };
            file = file.f32s(&format!("{gguf_name}{suffix}"), &[2, 1], &stored);
        }
        let checkpoint = open(&file.bytes()).unwrap();
        let mut expected: Vec<String> = names.keys().map(|name| whole(name)).collect();
        let mut found: Vec<String> = checkpoint.names().map(str::to_owned).collect();
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "{architecture}");
        for name in &expected {
            if name.ends_with("A_log") {
                assert_eq!(values(&checkpoint, name), [0.0, 2.0_f32.ln()], "{name}");
                continue;
            }
            let is_filter = name.contains("conv1d") || name.contains("conv.conv");
            let shape: &[usize] = if is_filter { &[2, 1, 1] } else { &[2, 1] };
            assert_eq!(checkpoint.shape(name).unwrap(), shape, "{name}");
            let offset = if architecture == "gemma3" && name.contains("norm") {
                1.0
            } else {
                0.0
            };
            assert_eq!(
                values(&checkpoint, name),
                [1.0 - offset, 2.0 - offset],
                "{architecture} {name}"
            );
        }
    }
}

#[test]
fn heads_of_llama_are_put_back_in_order() {
    let expected = expected_blocks();
    let stored = values(&expected, "heads.stored");
    let restored = values(&expected, "heads.restored");
    assert_ne!(stored, restored);
    let file = GgufFile::new("llama")
        .number("llama.attention.head_count", 3)
        .f32s("blk.0.attn_q.weight", &[24, 4], &stored)
        .f32s("blk.0.attn_k.weight", &[24, 4], &stored)
        .f32s("blk.0.attn_v.weight", &[24, 4], &stored)
        .f32s("blk.0.attn_q.bias", &[6], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let check = |file: &GgufFile, name: &str, expected: &[f32]| {
        let name = format!("model.layers.0.self_attn.{name}");
        assert_eq!(
            values(&open(&file.bytes()).unwrap(), &name),
            expected,
            "{name}"
        );
    };
    check(&file, "q_proj.weight", &restored);
    // Without `head_count_kv` there are as many as query heads.
    check(&file, "k_proj.weight", &restored);
    check(&file, "v_proj.weight", &stored);
    check(&file, "q_proj.bias", &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);

    let file = file.number("llama.attention.head_count_kv", 12);
    check(&file, "q_proj.weight", &restored);
    // Heads of two rows each: nothing to reorder.
    check(&file, "k_proj.weight", &stored);

    for (count, message) in [
        (5, "24 rows do not divide into 5 heads"),
        (0, "no usable `attention.head_count`"),
    ] {
        let mut file = file.clone();
        file.numbers[0].1 = count;
        let result = open(&file.bytes())
            .unwrap()
            .tensor("model.layers.0.self_attn.q_proj.weight");
        check_error(result, &["model.gguf", "blk.0.attn_q.weight", message]);
    }
}

#[test]
fn tensors_without_a_counterpart_keep_their_name() {
    let file = GgufFile::new("llama").f32s("rope_freqs.weight", &[2], &[1.0, 2.0]);
    let checkpoint = open(&file.bytes()).unwrap();
    assert_eq!(values(&checkpoint, "rope_freqs.weight"), [1.0, 2.0]);
}

#[test]
fn faulty_files_are_refused() {
    let sound = GgufFile::new("llama")
        .f32s("token_embd.weight", &[4, 2], &[0.0; 8])
        .f32s("output_norm.weight", &[2], &[0.0; 2]);
    open(&sound.bytes()).unwrap();
    let check = |change: &dyn Fn(&mut GgufFile), parts: &[&str]| {
        let mut file = sound.clone();
        change(&mut file);
        check_error(open(&file.bytes()), &[parts, &["model.gguf"]].concat());
    };
    check(
        &|file| file.architecture = "clip",
        &["\"clip\"", "bloom, deepseek2, ernie4_5"],
    );
    check(
        &|file| file.tensors[0].ggml_type = 16,
        &["token_embd.weight", "IQ2_XXS (16)", "Q4_K"],
    );
    check(
        &|file| file.tensors[0].name = "../token_embd.weight".into(),
        &["../token_embd.weight", "out of a folder"],
    );
    check(
        &|file| file.tensors[0].ggml_type = 99,
        &["token_embd.weight", "99 (unknown)"],
    );
    check(
        &|file| file.tensors[0].ggml_type = 2,
        &["token_embd.weight", "whole blocks of 32", "Q4_0"],
    );
    check(
        &|file| file.tensors[1].offset = Some(64),
        &["output_norm.weight", "does not lie within"],
    );
    check(
        &|file| file.tensors[1].offset = Some(1 << 40),
        &["output_norm.weight", "does not lie within"],
    );
    check(
        &|file| file.tensors[1].offset = Some(u64::MAX - 31),
        &["output_norm.weight"],
    );
    check(
        &|file| file.tensors[1].offset = Some(8),
        &["output_norm.weight", "alignment"],
    );
    check(
        &|file| file.tensors[1].offset = Some(0),
        &["output_norm.weight", "overlaps", "token_embd.weight"],
    );
    check(
        &|file| file.tensors[0].shape = vec![1 << 20, 1 << 20],
        &["token_embd.weight"],
    );
    check(
        &|file| file.tensors[0].shape = vec![1 << 33, 1 << 33],
        &["token_embd.weight"],
    );
    check(
        &|file| file.tensors[0].shape = vec![1 << 62],
        &["token_embd.weight"],
    );
    check(
        &|file| file.tensors[1].name = "token_embd.weight".into(),
        &["token_embd.weight", "twice"],
    );
    check(
        &|file| file.tensors[1].name = "model.embed_tokens.weight".into(),
        &["one tensor of the model"],
    );
    let bytes = sound.bytes();
    check_error(
        open(&bytes[..bytes.len() - 32]),
        &["output_norm.weight", "does not lie within"],
    );
    check_error(open(&bytes[..40]), &["model.gguf"]);
    check_error(open(b""), &["model.gguf"]);
}

/// Two heads of one row of keys and one of values, each from a latent vector of three.
#[test]
fn halves_make_one_tensor() {
    let name = "model.layers.0.self_attn.kv_b_proj.weight";
    let (keys, vectors) = ("blk.0.attn_k_b.weight", "blk.0.attn_v_b.weight");
    let sound = GgufFile::new("deepseek2")
        .f32s(keys, &[2, 3, 1], &[1.0, 2.0, 3.0, 7.0, 8.0, 9.0])
        .f32s(vectors, &[2, 1, 3], &[4.0, 5.0, 6.0, 10.0, 11.0, 12.0]);
    let counted: Vec<f32> = (1_u8..=12).map(f32::from).collect();
    let checkpoint = open(&sound.bytes()).unwrap();
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), [name]);
    assert_eq!(checkpoint.shape(name).unwrap(), [4, 3]);
    assert_eq!(values(&checkpoint, name), counted);
    assert_eq!(checkpoint.stored(name).unwrap().bytes, 48);
    assert!(!checkpoint.has_blocks(name) && checkpoint.blocks(name).unwrap().is_none());

    // Of both forms the whole is read.
    let both = sound.clone();
    let both = both.f32s("blk.0.attn_kv_b.weight", &[1, 2], &[0.5, 1.5]);
    assert_eq!(values(&open(&both.bytes()).unwrap(), name), [0.5, 1.5]);

    let mut half = sound.clone();
    half.tensors.pop();
    check_error(open(&half.bytes()), &[keys, name, "the other is missing"]);
    for shape in [&[3, 1, 2][..], &[2, 1, 2], &[6, 1], &[6]] {
        let mut file = sound.clone();
        file.tensors[1].shape = shape.to_vec();
        check_error(open(&file.bytes()), &[keys, vectors, "do not make one"]);
    }
    // No value at all, and more rows than can be counted.
    let many = GgufFile::new("deepseek2")
        .f32s(keys, &[1 << 33, 0, 1 << 33], &[])
        .f32s(vectors, &[1 << 33, 1 << 33, 0], &[]);
    check_error(open(&many.bytes()), &[keys, "do not make one"]);
}

/// Two groups of a query and a key of one row, and two rows of values, each with its gate.
#[test]
fn linear_attention_is_put_together_by_group() {
    let name = "model.layers.0.linear_attn.in_proj_qkvz.weight";
    let qkv = [1.0, 7.0, 2.0, 8.0, 3.0, 4.0, 9.0, 10.0];
    let file = |groups| {
        GgufFile::new("qwen3next")
            .number("qwen3next.ssm.group_count", groups)
            .f32s("blk.0.attn_qkv.weight", &[8, 1], &qkv)
            .f32s("blk.0.attn_gate.weight", &[4, 1], &[5.0, 6.0, 11.0, 12.0])
    };
    let counted: Vec<f32> = (1_u8..=12).map(f32::from).collect();
    assert_eq!(values(&open(&file(2).bytes()).unwrap(), name), counted);
    for groups in [0, 3, u32::MAX] {
        check_error(
            open(&file(groups).bytes()),
            &["blk.0.attn_qkv.weight", "groups"],
        );
    }
}

/// Parameters written under the file's names, in its order of rows, are read back as they were.
#[test]
fn parameters_are_written_and_read_back() {
    let heads = HeadCounts {
        query: 4,
        key_value: 2,
    };
    for architecture in ["llama", "qwen3", "gemma3"] {
        let mut parameters = Vec::new();
        for name in [
            "model.embed_tokens.weight",
            "model.norm.weight",
            "model.layers.1.self_attn.q_proj.weight",
            "model.layers.1.self_attn.k_proj.weight",
            "model.layers.1.self_attn.v_proj.weight",
            "lm_head.weight",
        ] {
            let values = (0..48)
                .map(|value| value as f32 + name.len() as f32)
                .collect();
            let shape = if name.contains("norm") {
                vec![48]
            } else {
                vec![16, 3]
            };
            parameters.push((name, HostTensor::from_vec(values, shape).unwrap()));
        }
        let lazy = |(name, tensor): &(&str, HostTensor)| {
            LazyTensor::from(((*name).to_owned(), tensor.clone()))
        };
        let lazy = parameters.iter().map(lazy).collect();
        let tensors = GgufMapping::file_tensors(architecture, heads, lazy).unwrap();
        let as_type = GgufType::F32;
        let tensors = tensors
            .into_iter()
            .map(|tensor| GgufTensor { tensor, as_type })
            .collect();
        let count = |key: &str, count| {
            (
                format!("{architecture}.attention.{key}"),
                GgufValue::U32(count),
            )
        };
        let metadata = [
            (
                "general.architecture".to_owned(),
                GgufValue::String(architecture.into()),
            ),
            count("head_count", 4),
            count("head_count_kv", 2),
        ];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.gguf");
        save_gguf(&path, &metadata, tensors).unwrap();
        let checkpoint = Checkpoint::open_file(&path, &OpenOptions::default()).unwrap();
        for (name, tensor) in &parameters {
            assert_eq!(
                checkpoint.tensor(name).unwrap(),
                *tensor,
                "{architecture} {name}"
            );
        }
        let (_, odd) = &parameters[1];
        let faulty = |name: &str| {
            let heads = HeadCounts { query: 5, ..heads };
            let odd = LazyTensor::from((name.to_owned(), odd.clone()));
            GgufMapping::file_tensors(architecture, heads, vec![odd])
        };
        check_error(
            faulty("rotary_emb.inv_freq"),
            &["`rotary_emb.inv_freq`", architecture],
        );
        let result = faulty("model.layers.0.self_attn.q_proj.weight");
        assert_eq!(result.is_err(), architecture == "llama");
    }
}

#[test]
fn filters_and_rates_are_written_and_read_back() {
    let heads = HeadCounts {
        query: 1,
        key_value: 1,
    };
    let parameters = [
        ("mixer.conv1d.weight", vec![2, 1, 3], "ssm_conv1d.weight"),
        ("mixer.conv1d.bias", vec![6], "ssm_conv1d.bias"),
        ("mixer.A_log", vec![3, 2], "ssm_a"),
        ("mixer.D", vec![6], "ssm_d"),
    ];
    let mut tensors = Vec::new();
    for (name, shape, stored) in &parameters {
        // Logarithms of 1, so that nothing is rounded.
        let values = match name.ends_with("A_log") {
            true => vec![0.0; 6],
            false => (0..6).map(|value| value as f32).collect(),
        };
        let tensor = HostTensor::from_vec(values, shape.clone()).unwrap();
        let tensor = LazyTensor::from((format!("backbone.layers.0.{name}"), tensor));
        let written = GgufMapping::file_tensors("mamba", heads, vec![tensor]);
        let tensor = written.unwrap().remove(0);
        assert_eq!(tensor.name(), format!("blk.0.{stored}"));
        if *stored == "ssm_conv1d.weight" {
            assert_eq!(tensor.shape(), [2, 3]);
        }
        let as_type = GgufType::F32;
        tensors.push(GgufTensor { tensor, as_type });
    }
    let metadata = [(
        "general.architecture".to_owned(),
        GgufValue::String("mamba".into()),
    )];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    save_gguf(&path, &metadata, tensors).unwrap();
    let checkpoint = Checkpoint::open_file(&path, &OpenOptions::default()).unwrap();
    for (name, shape, _) in &parameters {
        let name = format!("backbone.layers.0.{name}");
        assert_eq!(checkpoint.shape(&name).unwrap(), shape.as_slice(), "{name}");
        let expected = match name.ends_with("A_log") {
            true => vec![0.0; 6],
            false => vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
        };
        assert_eq!(values(&checkpoint, &name), expected, "{name}");
    }
}

#[test]
fn files_are_written_as_the_gguf_package_does() {
    let golden =
        Checkpoint::open_file(&golden("gguf_written.safetensors"), &OpenOptions::default());
    let golden = golden.unwrap();
    let values = golden.tensor("values").unwrap();
    let kinds = [
        ("f32", GgufType::F32),
        ("f16", GgufType::F16),
        ("bf16", GgufType::BF16),
        ("q8_0", GgufType::Q8_0),
        ("q4_0", GgufType::Q4_0),
        ("q5_0", GgufType::Q5_0),
    ];
    let tensor = |name: &str, tensor: &HostTensor, as_type| GgufTensor {
        tensor: LazyTensor::from((name.to_owned(), tensor.clone())),
        as_type,
    };
    let tensors = || {
        kinds
            .map(|(name, as_type)| tensor(name, &values, as_type))
            .into()
    };
    let texts = ["a", "é"].map(str::to_owned).to_vec();
    let metadata = [
        ("general.architecture", GgufValue::String("llama".into())),
        ("llama.block_count", GgufValue::U32(1)),
        ("llama.rope.freq_base", GgufValue::F32(1e4)),
        ("tokenizer.ggml.add_bos_token", GgufValue::Bool(true)),
        (
            "tokenizer.ggml.tokens",
            GgufValue::Array(GgufArray::String(texts)),
        ),
        (
            "tokenizer.ggml.scores",
            GgufValue::Array(GgufArray::F32(vec![0.5, -1.0])),
        ),
        ("some.i8", GgufValue::I8(-1)),
        ("some.u64", GgufValue::U64(1 << 40)),
    ];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("written.gguf");
    save_gguf(&path, &metadata, tensors()).unwrap();
    let written = fs::read(&path).unwrap();
    assert_eq!(written[..], golden.tensor("file").unwrap().bytes()[..]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    let faulty = |change: &dyn Fn(&mut Vec<GgufTensor>), parts: &[&str]| {
        let mut tensors = tensors();
        change(&mut tensors);
        check_error(save_gguf(&path, &metadata, tensors), parts);
        assert_eq!(fs::read(&path).unwrap(), written, "the old file stays");
    };
    faulty(
        &|tensors| tensors[1] = tensor("f32", &values, GgufType::F16),
        &["`f32`", "twice"],
    );
    let odd = HostTensor::from_vec(vec![0.0_f32; 33], vec![33]).unwrap();
    faulty(
        &|tensors| tensors[3] = tensor("q8_0", &odd, GgufType::Q8_0),
        &["`q8_0`", "whole blocks of 32"],
    );
    let ids = HostTensor::from_vec(vec![0_i32; 32], vec![32]).unwrap();
    faulty(
        &|tensors| tensors[0] = tensor("f32", &ids, GgufType::F32),
        &["`f32`", "int32"],
    );
    let read = |tensor: HostTensor| move || Ok(tensor);
    faulty(
        &|tensors| {
            let lazy = LazyTensor::deferred("lazy", DType::F32, vec![3], read(odd.clone()));
            tensors[0].tensor = lazy;
        },
        &["`lazy`", "[3]", "[33]"],
    );
}

fn save_one(tensor: &HostTensor, as_type: GgufType) -> Checkpoint {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("one.gguf");
    let architecture = GgufValue::String("llama".into());
    let metadata = [("general.architecture".to_owned(), architecture)];
    let tensor = LazyTensor::from(("one.weight".to_owned(), tensor.clone()));
    save_gguf(&path, &metadata, vec![GgufTensor { tensor, as_type }]).unwrap();
    Checkpoint::open_file(&path, &OpenOptions::default()).unwrap()
}

#[test]
fn q4_k_is_as_exact_as_llama_quantize() {
    let golden = Checkpoint::open_file(&golden("q4_k.safetensors"), &OpenOptions::default());
    let golden = golden.unwrap();
    let original = golden.tensor("values").unwrap();
    let blocks = golden.tensor("blocks").unwrap();
    let theirs = GgufFile::new("llama").tensor("one.weight", &[8, 512], 12, blocks.bytes());
    let theirs = values(&open(&theirs.bytes()).unwrap(), "one.weight");
    let ours = values(&save_one(&original, GgufType::Q4_K), "one.weight");
    let rows = original.as_slice::<f32>().unwrap().chunks(512);
    for (row, original) in rows.enumerate() {
        let error = |decoded: &[f32]| {
            let decoded = &decoded[row * 512..][..512];
            let squares = decoded.iter().zip(original).map(|(a, b)| (a - b).powi(2));
            (squares.sum::<f32>() / 512.0).sqrt()
        };
        assert!(error(&ours) <= 1.05 * error(&theirs), "row {row}");
        let size = (original.iter().map(|x| x * x).sum::<f32>() / 512.0).sqrt();
        // The scales of row 6 are smaller than f16 can be.
        assert!(row == 6 || error(&ours) < 0.1 * size, "row {row}");
    }
    for hostile in [f32::NAN, f32::INFINITY, f32::MAX, f32::MIN_POSITIVE] {
        let mut values = vec![1.0; 256];
        values[7] = hostile;
        save_one(
            &HostTensor::from_vec(values, vec![1, 256]).unwrap(),
            GgufType::Q4_K,
        );
    }
}

#[test]
fn what_is_stored_is_told() {
    let values = HostTensor::from_vec(vec![0.5_f32; 512], vec![2, 256]).unwrap();
    for (kind, bytes) in [
        (GgufType::F16, 1024),
        (GgufType::Q8_0, 544),
        (GgufType::Q4_K, 288),
    ] {
        let checkpoint = save_one(&values, kind);
        let stored = checkpoint.stored("one.weight").unwrap();
        assert_eq!((stored.dtype.as_str(), stored.bytes), (kind.name(), bytes));
        assert!(stored.file.unwrap().ends_with("one.gguf"));
    }
    let memory = Checkpoint::from_tensors([("a".to_owned(), values)]);
    let stored = memory.stored("a").unwrap();
    assert_eq!((stored.dtype.as_str(), stored.bytes), ("F32", 2048));
    assert!(stored.file.is_none() && memory.stored("b").is_err());
}

#[test]
fn rows_that_are_not_whole_blocks_fall_back() {
    for (asked, len, taken) in [
        (GgufType::Q4_K, 512, GgufType::Q4_K),
        (GgufType::Q4_K, 576, GgufType::Q5_0),
        (GgufType::Q4_K, 80, GgufType::F16),
        (GgufType::Q8_0, 96, GgufType::Q8_0),
        (GgufType::Q8_0, 80, GgufType::F16),
        (GgufType::BF16, 7, GgufType::BF16),
    ] {
        assert_eq!(asked.for_rows_of(len), taken, "{asked} {len}");
    }
    for kind in GgufType::ALL {
        assert_eq!(
            kind.name().to_lowercase().parse::<GgufType>().unwrap(),
            kind
        );
    }
    check_error("Q4_K_M".parse::<GgufType>(), &["`Q4_K_M`", "Q8_0, "]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens to the bytes, opening and reading gives tensors or errors.
    #[test]
    fn damaged_files_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        end in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let file = GgufFile::new("llama")
            .number("llama.attention.head_count", 2)
            .f32s("blk.0.attn_q.weight", &[4, 2], &[0.5; 8])
            .tensor("blk.0.ffn_up.weight", &[1, 32], 2, &[7; 18]);
        let mut bytes = file.bytes();
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        if cut {
            bytes.truncate(end.index(bytes.len()));
        }
        if let Ok(checkpoint) = open(&bytes) {
            for name in checkpoint.names() {
                if let Ok(tensor) = checkpoint.tensor(name) {
                    prop_assert_eq!(tensor.shape(), checkpoint.shape(name).unwrap());
                }
            }
        }
    }
}
