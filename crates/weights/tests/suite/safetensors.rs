//! Reading safetensors: one file or shards, mapped or read, sound or hostile.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use safetensors::SafeTensors;
use transformers_hub::{HubOptions, ModelFiles};
use transformers_weights::{Checkpoint, DType, OpenOptions, Result};

use crate::{check_error, golden, open_folder, read_instead_of_mapping};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// A file with this header and as many zero bytes of data.
fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

fn open(bytes: &[u8], options: &OpenOptions) -> Result<Checkpoint> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(SINGLE);
    fs::write(&path, bytes).unwrap();
    Checkpoint::open_file(&path, options)
}

#[test]
fn files_of_python_are_read_mapped_or_not() {
    for options in [OpenOptions::default(), read_instead_of_mapping()] {
        let checkpoint = open_folder(&golden("sharded"), &options).unwrap();
        assert_eq!(checkpoint.names().len(), 21);
        assert_eq!(checkpoint.names().next(), Some("lm_head.weight"));
        assert_eq!(checkpoint.shape("lm_head.weight").unwrap(), [8, 4]);
        assert_eq!(checkpoint.dtype("model.norm.weight").unwrap(), DType::F32);
        assert_eq!(checkpoint.dtype_hint(), Some(DType::BF16));
        let norm = checkpoint.tensor("model.norm.weight").unwrap();
        assert_eq!(norm.as_slice::<f32>(), Some(&[1.0; 4][..]));
        let head = checkpoint.tensor("lm_head.weight").unwrap();
        assert_eq!((head.dtype(), head.len()), (DType::BF16, 32));
        let head = head.cast(DType::F32).unwrap();
        let head = head.as_slice::<f32>().unwrap();
        assert!(
            head.iter().all(|value| value.abs() < 0.1) && head.iter().any(|&value| value != 0.0)
        );
        check_error(
            checkpoint.tensor("norm.weight"),
            &["index.json", "`norm.weight`", "it has `model.norm.weight`"],
        );
    }
}

#[test]
fn mapped_tensors_are_views_of_the_file() {
    let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}"#;
    // Behind eight bytes of length and the padded header everything is aligned; one space more and nothing is.
    for (extra, aligned) in [(0, true), (1, false)] {
        let padded = header.len().next_multiple_of(8) + extra;
        let bytes = file(&format!("{header:padded$}"), 12);
        let mapped = open(&bytes, &OpenOptions::default()).unwrap();
        let (a, b) = (mapped.tensor("a").unwrap(), mapped.tensor("b").unwrap());
        assert_eq!(a.bytes().as_ptr().addr() + 8, b.bytes().as_ptr().addr());
        assert_eq!(
            a.bytes().as_ptr(),
            mapped.tensor("a").unwrap().bytes().as_ptr()
        );
        assert_eq!([a.is_aligned(), b.is_aligned()], [aligned; 2]);
        let address = a.bytes().as_ptr();
        let made_aligned = a.clone().aligned();
        assert_eq!(made_aligned.bytes().as_ptr() == address, aligned);
        assert_eq!((made_aligned.is_aligned(), &made_aligned), (true, &a));
        // The map lives as long as a tensor of it.
        drop(mapped);
        assert_eq!(
            a.cast(DType::F64).unwrap().as_slice::<f64>(),
            Some(&[0.0; 2][..])
        );

        let read = open(&bytes, &read_instead_of_mapping()).unwrap();
        let (first, second) = (read.tensor("a").unwrap(), read.tensor("a").unwrap());
        assert_ne!(first.bytes().as_ptr(), second.bytes().as_ptr());
        assert!(first.is_aligned());
        assert_eq!(first, a);
    }
}

#[test]
fn faulty_headers_are_refused() {
    let check = |bytes: &[u8], parts: &[&str]| {
        for options in [OpenOptions::default(), read_instead_of_mapping()] {
            check_error(open(bytes, &options), &[parts, &[SINGLE]].concat());
        }
    };
    let one = |dtype: &str, shape: &str, offsets: &str| {
        format!(r#"{{"x":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
    };
    check(b"", &["0 bytes"]);
    check(b"1234567", &["7 bytes"]);
    check(&u64::MAX.to_le_bytes(), &["18446744073709551615"]);
    check(
        &[1000_u64.to_le_bytes().as_slice(), b"{}"].concat(),
        &["1000 bytes", "2 bytes follow"],
    );
    check(
        &[(1_u64 << 40).to_le_bytes().as_slice(), b"{}"].concat(),
        &["1099511627776"],
    );
    check(&(1_u64 << 63).to_le_bytes(), &["9223372036854775808"]);
    for len in 0..8 {
        check(&vec![0; len], &[&format!("{len} bytes")]);
    }
    let too_long = [&100_000_001_u64.to_le_bytes()[..], &vec![b' '; 100_000_001]].concat();
    check(&too_long, &["100000001 bytes", "100000000 are allowed"]);
    check(&file("{}\u{0}\u{0}", 0), &["header"]);
    check(
        &file(r#"{"__metadata__":{"format":1}}"#, 0),
        &["header", "string"],
    );
    check(&file(r#"{"__metadata__":"pt"}"#, 0), &["header"]);
    for (name, fault) in [
        ("../x", "out of a folder"),
        ("a/../../x", "out of a folder"),
        (r"..\\x", "out of a folder"),
        (r"a\u0000b", "NUL"),
        (&"x".repeat(1 << 20), "1048576 bytes"),
    ] {
        check(
            &file(&one("U8", "[1]", "[0,1]").replace('x', name), 1),
            &[fault],
        );
    }
    check(&file("{", 0), &["header"]);
    check(&file("[]", 0), &["an object of tensors"]);
    check(&file("\u{0}\u{1}", 0), &["header"]);
    check(&file(r#"{"x":{"dtype":"F32"}}"#, 0), &["`x`", "shape"]);
    check(&file(&one("F32", "[-1]", "[0,4]"), 4), &["`x`", "-1"]);
    check(&file(&one("F32", "[1.5]", "[0,4]"), 4), &["`x`", "1.5"]);
    check(
        &file(&one("F33", "[1]", "[0,4]"), 4),
        &["`x`", "`F33` is not a dtype"],
    );
    check(
        &file(&one("F32", "[1]", "[0,4]"), 3),
        &["`x`", "ends at byte 4", "only 3"],
    );
    check(
        &file(&one("F32", "[1]", "[0,4]"), 5),
        &["1 bytes at the end"],
    );
    check(
        &file(&one("F32", "[2]", "[0,4]"), 4),
        &["`x`", "do not span the 8 bytes", "[2]"],
    );
    check(&file(&one("F32", "[1]", "[4,0]"), 4), &["`x`", "[4, 0]"]);
    check(
        &file(&one("F32", "[1]", "[1,5]"), 5),
        &["`x`", "leaves a hole"],
    );
    check(
        &file(&one("F32", "[4611686018427387904]", "[0,0]"), 0),
        &["`x`", "overflows"],
    );
    check(
        &file(&one("F32", "[4294967296,4294967296,0]", "[0,0]"), 0),
        &["`x`", "overflows"],
    );
    check(&file(&one("F4", "[3]", "[0,1]"), 1), &["`x`"]);
    let two = |first: &str, second: &str| {
        format!(
            r#"{{"x":{{"dtype":"U8","shape":[4],"data_offsets":{first}}},"y":{{"dtype":"U8","shape":[4],"data_offsets":{second}}}}}"#
        )
    };
    check(&file(&two("[0,4]", "[2,6]"), 6), &["`y`", "overlaps"]);
    check(&file(&two("[0,4]", "[0,4]"), 4), &["`y`", "overlaps"]);
    check(&file(&two("[5,9]", "[0,4]"), 9), &["`x`", "leaves a hole"]);
    check(
        &file(&two("[0,4]", "[4,8]").replace(r#""y""#, r#""x""#), 8),
        &["`x` is there twice"],
    );
    check(
        &file(&two("[0,4]", "[4,8]").replace(r#""y""#, r#""x""#), 4),
        &["`x` is there twice"],
    );
    check(
        &file(r#"{"__metadata__":{},"__metadata__":{}}"#, 0),
        &["`__metadata__` is there twice"],
    );

    let sound = file(&two("[4,8]", "[0,4]"), 8);
    assert_eq!(
        open(&sound, &OpenOptions::default()).unwrap().names().len(),
        2
    );
    assert_eq!(
        open(
            &file(r#"{"__metadata__":{"format":"pt"}} "#, 0),
            &OpenOptions::default()
        )
        .unwrap()
        .names()
        .len(),
        0
    );
}

#[test]
fn types_of_quantised_checkpoints_are_named() {
    for (dtype, shape, bytes) in [
        ("F8_E4M3", "[3]", 3),
        ("F8_E5M2", "[3]", 3),
        ("F8_E8M0", "[3]", 3),
        ("F4", "[2]", 1),
        ("C64", "[1]", 8),
    ] {
        let header = format!(
            r#"{{"w":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{bytes}]}},"z":{{"dtype":"I8","shape":[2],"data_offsets":[{bytes},{}]}}}}"#,
            bytes + 2
        );
        let checkpoint = open(&file(&header, bytes + 2), &OpenOptions::default()).unwrap();
        for result in [
            checkpoint.dtype("w"),
            checkpoint.tensor("w").map(|tensor| tensor.dtype()),
        ] {
            check_error(result, &[SINGLE, "`w`", dtype, "not supported yet"]);
        }
        assert_eq!(
            checkpoint.tensor("z").unwrap().as_slice::<i8>(),
            Some(&[0, 0][..])
        );
        assert_eq!(checkpoint.dtype_hint(), None);
    }
}

fn folder_with(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder
}

fn open_in(folder: &Path) -> Result<Checkpoint> {
    open_folder(folder, &OpenOptions::default())
}

fn bytes_tensor(name: &str) -> Vec<u8> {
    file(
        &format!(r#"{{"{name}":{{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}}}"#),
        1,
    )
}

#[test]
fn faulty_indices_are_refused() {
    let (a, b) = (bytes_tensor("a"), bytes_tensor("b"));
    let check = |index: &str, parts: &[&str]| {
        let folder = folder_with(&[
            ("1.safetensors", &a),
            ("sub/2.safetensors", &b),
            (INDEX, index.as_bytes()),
        ]);
        check_error(open_in(folder.path()), &[parts, &[INDEX]].concat());
    };
    for outside in [
        "../x",
        "/etc/passwd",
        "sub/../../x",
        "..",
        "",
        ".",
        r"sub\\2.safetensors",
        "C:x",
        "https://example.com/1.safetensors",
        "file:///etc/passwd",
    ] {
        let index = format!(r#"{{"weight_map":{{"a":"1.safetensors","w":"{outside}"}}}}"#);
        check(
            &index,
            &[
                "`w`",
                &format!("`{}`", outside.replace(r"\\", r"\")),
                "not a file inside",
            ],
        );
    }
    check(
        r#"{"weight_map":{"a":"3.safetensors"}}"#,
        &["`3.safetensors`", "no such file"],
    );
    check(
        r#"{"weight_map":{"b":"1.safetensors"}}"#,
        &["`b`", "not in its shard `1.safetensors`"],
    );
    check(
        r#"{"weight_map":{"a":"1.safetensors","a":"1.safetensors"}}"#,
        &["`a` is there twice"],
    );
    check(r#"{"weight_map":{}}"#, &["empty"]);
    check(r#"{"weights":{}}"#, &["weight_map"]);
    check("not json", &["index"]);
    check(
        &" ".repeat(100_000_001),
        &["100000001 bytes", "100000000 are allowed"],
    );

    let index = br#"{"metadata":{},"weight_map":{"a":"1.safetensors","b":"sub/2.safetensors"}}"#;
    let folder = folder_with(&[
        ("1.safetensors", &a),
        ("sub/2.safetensors", &b),
        (INDEX, index),
    ]);
    let checkpoint = open_in(folder.path()).unwrap();
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(checkpoint.dtype_hint(), None);

    for (stated, expected) in [
        (r#""torch.bfloat16""#, Some(DType::BF16)),
        (r#""float16""#, Some(DType::F16)),
        ("3", None),
    ] {
        let index =
            format!(r#"{{"metadata":{{"dtype":{stated}}},"weight_map":{{"a":"1.safetensors"}}}}"#);
        fs::write(folder.path().join(INDEX), index).unwrap();
        let checkpoint = open_in(folder.path()).unwrap();
        assert_eq!(checkpoint.dtype_hint(), expected);
    }
}

/// Nothing in opening takes longer per tensor the more there are.
#[test]
fn a_million_tiny_tensors_are_opened() {
    let count = 1_000_000;
    let mut header = String::from("{");
    for index in 0..count {
        let end = index + 1;
        header.push_str(&format!(
            r#""t{index}":{{"dtype":"U8","shape":[1],"data_offsets":[{index},{end}]}},"#
        ));
    }
    header.pop();
    header.push('}');
    let checkpoint = open(&file(&header, count), &OpenOptions::default()).unwrap();
    assert_eq!(checkpoint.names().len(), count);
    assert_eq!(checkpoint.names().last(), Some("t999999"));
    assert_eq!(checkpoint.tensor("t77").unwrap().len(), 1);
}

#[cfg(unix)]
#[test]
fn links_out_of_the_folder_are_refused() {
    use std::os::unix::fs::symlink;
    let elsewhere = folder_with(&[("secret.safetensors", &bytes_tensor("a"))]);
    let secret = elsewhere.path().join("secret.safetensors");
    let folder = folder_with(&[]);
    symlink(&secret, folder.path().join(SINGLE)).unwrap();
    check_error(
        open_in(folder.path()),
        &[SINGLE, "secret.safetensors", "outside"],
    );

    let index = br#"{"weight_map":{"a":"sub/1.safetensors"}}"#;
    let folder = folder_with(&[(INDEX, index)]);
    symlink(elsewhere.path(), folder.path().join("sub")).unwrap();
    fs::copy(&secret, elsewhere.path().join("1.safetensors")).unwrap();
    check_error(open_in(folder.path()), &["1.safetensors", "outside"]);
    let followed = HubOptions {
        follow_symlinks: true,
        ..HubOptions::default()
    };
    let files = ModelFiles::resolve(folder.path(), &followed).unwrap();
    assert!(Checkpoint::open(&files, &OpenOptions::default()).is_ok());

    // Within the folder a link is as good as a file.
    let folder = folder_with(&[("real.safetensors", &bytes_tensor("a"))]);
    symlink("real.safetensors", folder.path().join(SINGLE)).unwrap();
    assert!(open_in(folder.path()).is_ok());

    // A hub's cache: snapshots are links to blobs.
    let cache = folder_with(&[("blobs/0123", &bytes_tensor("a"))]);
    let snapshot = cache.path().join("snapshots/abc");
    fs::create_dir_all(&snapshot).unwrap();
    symlink("../../blobs/0123", snapshot.join(SINGLE)).unwrap();
    assert!(open_in(&snapshot).is_ok());
}

#[test]
fn the_variant_selects_the_file() {
    let variant = |variant: &str| OpenOptions {
        variant: Some(variant.into()),
        ..OpenOptions::default()
    };
    let index = br#"{"weight_map":{"c":"model.bf16-00001-of-00001.safetensors"}}"#;
    let folder = folder_with(&[
        (SINGLE, &bytes_tensor("a")),
        ("model.fp16.safetensors", &bytes_tensor("b")),
        ("model.safetensors.index.bf16.json", index),
        ("model.bf16-00001-of-00001.safetensors", &bytes_tensor("c")),
    ]);
    let first = |options| {
        let checkpoint = open_folder(folder.path(), &options).unwrap();
        checkpoint.names().next().unwrap().to_owned()
    };
    assert_eq!(first(OpenOptions::default()), "a");
    assert_eq!(first(variant("fp16")), "b");
    assert_eq!(first(variant("bf16")), "c");
    let result = open_folder(folder.path(), &variant("int8"));
    check_error(
        result,
        &[
            "model.int8.safetensors",
            "model.safetensors.index.int8.json",
        ],
    );
}

#[test]
fn a_subfolder_holds_a_model_of_its_own() {
    let folder = folder_with(&[
        (SINGLE, &bytes_tensor("a")),
        ("sub/model.fp16.safetensors", &bytes_tensor("b")),
    ]);
    let options = HubOptions {
        subfolder: Some("sub".into()),
        ..HubOptions::default()
    };
    let files = ModelFiles::resolve(folder.path(), &options).unwrap();
    let half = OpenOptions {
        variant: Some("fp16".into()),
        ..OpenOptions::default()
    };
    assert!(Checkpoint::open(&files, &half).unwrap().contains("b"));
    check_error(
        Checkpoint::open(&files, &OpenOptions::default()),
        &["no weights"],
    );
}

/// What is read later is checked again; under a map nothing could be.
#[test]
fn a_file_that_became_shorter_is_noticed_where_it_is_read() {
    let folder = folder_with(&[(SINGLE, &bytes_tensor("a"))]);
    let path = folder.path().join(SINGLE);
    let checkpoint = Checkpoint::open_file(&path, &read_instead_of_mapping()).unwrap();
    assert!(checkpoint.tensor("a").is_ok());
    let len = fs::metadata(&path).unwrap().len();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(len - 1).unwrap();
    check_error(checkpoint.tensor("a"), &["reading", SINGLE]);
}

#[test]
fn weights_of_other_frameworks_are_named() {
    let folder = folder_with(&[
        ("tf_model.h5", b""),
        ("consolidated.00.pth", b""),
        ("training_args.bin", b""),
    ]);
    check_error(
        open_in(folder.path()),
        &[
            "consolidated.00.pth",
            "tf_model.h5",
            "safetensors",
            "save_pretrained",
        ],
    );
    let folder = folder_with(&[("training_args.bin", b"")]);
    check_error(open_in(folder.path()), &["no weights", SINGLE, INDEX]);
}

#[test]
fn a_gguf_file_among_the_files_is_opened() {
    let gguf = crate::gguf_file::GgufFile::new("qwen2").f32s("output_norm.weight", &[1], &[3.0]);
    let folder = folder_with(&[("m.gguf", &gguf.bytes())]);
    let checkpoint = open_in(folder.path()).unwrap();
    assert_eq!(
        checkpoint.names().collect::<Vec<_>>(),
        ["model.norm.weight"]
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens to a header, opening gives an error, or a checkpoint that the `safetensors` crate accepts too.
    #[test]
    fn damaged_files_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(br#"0123456789{}[]",:FIU-"#.to_vec())), 0..4),
        end in any::<prop::sample::Index>(),
        cut in prop::bool::weighted(0.2),
    ) {
        let header = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"b":{"dtype":"I16","shape":[3],"data_offsets":[8,14]}}"#;
        let mut bytes = file(header, 14);
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        if cut {
            bytes.truncate(end.index(bytes.len()));
        }
        if let Ok(checkpoint) = open(&bytes, &OpenOptions::default()) {
            let theirs = SafeTensors::deserialize(&bytes);
            prop_assert!(theirs.is_ok(), "{:?}", theirs.err());
            for name in checkpoint.names() {
                if let Ok(tensor) = checkpoint.tensor(name) {
                    prop_assert_eq!(&tensor.bytes()[..], theirs.as_ref().unwrap().tensor(name).unwrap().data());
                }
            }
        }
    }
}
