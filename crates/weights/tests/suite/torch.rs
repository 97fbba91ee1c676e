//! Reading files of `torch.save`: what Python wrote, and what an attacker would.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use transformers_weights::{Checkpoint, OpenOptions, Result, WeightsError};

use crate::{check_error, golden, open_folder, read_instead_of_mapping};

fn open(path: &Path) -> Result<Checkpoint> {
    Checkpoint::open_file(path, &OpenOptions::default())
}

/// The names of the golden file `name`, all of whose tensors were compared with the safetensors file.
fn compared(name: &str, options: &OpenOptions) -> usize {
    let expected = open(&golden("torch/expected.safetensors")).unwrap();
    let checkpoint = Checkpoint::open_file(&golden("torch").join(name), options).unwrap();
    for name in checkpoint.names() {
        let tensor = checkpoint.tensor(name).unwrap();
        assert_eq!(tensor, expected.tensor(name).unwrap(), "{name}");
        assert_eq!(checkpoint.dtype(name).unwrap(), tensor.dtype());
        assert!(tensor.is_aligned() || options.mmap, "{name}");
    }
    checkpoint.names().len()
}

#[test]
fn files_of_python_are_read() {
    for options in [OpenOptions::default(), read_instead_of_mapping()] {
        assert_eq!(compared("zip.bin", &options), 25);
        assert_eq!(compared("legacy.bin", &options), 22);
    }
    let nested = open(&golden("torch/nested.ckpt")).unwrap();
    assert_eq!(nested.names().collect::<Vec<_>>(), ["w"]);
    assert_eq!(
        nested.tensor("w").unwrap().as_slice::<f32>(),
        Some(&[1.0, 1.0][..])
    );
}

#[test]
fn a_folder_with_pytorch_model_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pytorch_model.bin");
    fs::copy(golden("torch/zip.bin"), &file).unwrap();
    let checkpoint = open_folder(folder.path(), &OpenOptions::default()).unwrap();
    assert!(checkpoint.contains("transposed"));
    // Shards, one of either format.
    fs::create_dir(folder.path().join("shards")).unwrap();
    fs::rename(&file, folder.path().join("shards/a.bin")).unwrap();
    fs::copy(golden("torch/legacy.bin"), folder.path().join("b.bin")).unwrap();
    let index = r#"{"weight_map": {"scalar": "b.bin", "0.weight": "shards/a.bin"}}"#;
    fs::write(folder.path().join("pytorch_model.bin.index.json"), index).unwrap();
    let checkpoint = open_folder(folder.path(), &OpenOptions::default()).unwrap();
    let scalar = checkpoint.tensor("scalar").unwrap().aligned();
    assert_eq!(scalar.as_slice::<f32>(), Some(&[3.5][..]));
}

#[test]
fn mapped_tensors_are_views_of_the_archive() {
    let checkpoint = open(&golden("torch/zip.bin")).unwrap();
    let pointer = |name: &str| checkpoint.tensor(name).unwrap().bytes().as_ptr().addr();
    assert_eq!(pointer("0.weight"), pointer("0.weight"));
    assert_ne!(pointer("transposed"), 0);
}

struct File {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn written(bytes: &[u8]) -> File {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.bin");
    fs::write(&path, bytes).unwrap();
    File {
        _folder: folder,
        path,
    }
}

/// An archive with the given parts, stored.
fn archive(parts: &[(&str, &[u8])], method: zip::CompressionMethod) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut archive = zip::ZipWriter::new(&mut bytes);
    let options = zip::write::SimpleFileOptions::default().compression_method(method);
    for (name, data) in parts {
        archive.start_file(*name, options).unwrap();
        archive.write_all(data).unwrap();
    }
    archive.finish().unwrap();
    bytes.into_inner()
}

fn with_pickle(pickle: &[u8]) -> Vec<u8> {
    let parts: [(&str, &[u8]); 2] = [("m/data.pkl", pickle), ("m/data/0", &[0; 16])];
    archive(&parts, zip::CompressionMethod::Stored)
}

fn text(text: &str) -> Vec<u8> {
    [
        &b"X"[..],
        &(text.len() as u32).to_le_bytes(),
        text.as_bytes(),
    ]
    .concat()
}

fn tuple(sizes: &[i32]) -> Vec<u8> {
    let numbers = sizes
        .iter()
        .flat_map(|size| [&b"J"[..], &size.to_le_bytes()].concat());
    [&b"("[..], &numbers.collect::<Vec<_>>(), b"t"].concat()
}

/// A dictionary with one tensor over a storage of four floats.
fn one_tensor(name: &str, start: i32, shape: &[i32], strides: &[i32]) -> Vec<u8> {
    let storage = [
        b"(",
        &text("storage")[..],
        b"ctorch\nFloatStorage\n",
        &text("0"),
        &text("cpu"),
        b"K\x04tQ",
    ];
    [
        b"\x80\x02}",
        &text(name)[..],
        b"ctorch._utils\n_rebuild_tensor_v2\n(",
        &storage.concat(),
        b"J",
        &start.to_le_bytes(),
        &tuple(shape),
        &tuple(strides),
        b"\x89NtRs.",
    ]
    .concat()
}

#[test]
fn pickles_that_hold_more_than_tensors_are_refused() {
    let check = |pickle: &[u8], parts: &[&str]| {
        let file = written(&with_pickle(pickle));
        let result = open(&file.path);
        assert!(
            matches!(result, Err(WeightsError::Torch { .. })),
            "{result:?}"
        );
        check_error(result, &[parts, &["model.bin"]].concat());
    };
    for (module, name) in [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("__builtin__", "getattr"),
        ("torch", "load"),
        ("torch.serialization", "load"),
        ("torch._utils", "_import_dotted_name"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("collections", "defaultdict"),
        ("torch.nn.parameter", "Parameter"),
    ] {
        let pickle = format!("c{module}\n{name}\n(X\x04\0\0\0truetR.");
        check(
            pickle.as_bytes(),
            &[&format!("`{module}.{name}`"), "only tensors"],
        );
    }
    // Every opcode that is not of those that tensors need.
    let known = b".\x80N\x88\x89JKM\x8aGXUc()]}t\x85\x86\x87aesuqrhjQRb";
    for opcode in (0..=u8::MAX).filter(|opcode| !known.contains(opcode)) {
        check(
            &[opcode, 0, 0, 0, b'.'],
            &[&format!("opcode {opcode:#04x}"), "at byte 0"],
        );
    }
    check(b"", &["announced"]);
    check(b"N", &["at byte 1"]);
    check(b".", &["the stack is empty"]);
    check(
        b"N.",
        &["a dictionary of tensors is expected, and None is there"],
    );
    check(b"(N0.", &["opcode 0x30"]);
    check(b"N(.", &["the stack is empty"]);
    check(b"t.", &["no mark"]);
    check(b"h\x05.", &["nothing was kept as 5"]);
    check(b"X\xff\xff\xff\xff.", &["4294967295 bytes are announced"]);
    check(b"X\x01\0\0\0\xff.", &["UTF-8"]);
    check(b"ctorch\n", &["a name does not end"]);
    check(b"}Na.", &["a list is expected"]);
    check(b"]NNs.", &["a dictionary is expected"]);
    check(b"}(Nu.", &["a key has no value"]);
    check(b"NNb.", &["a dictionary is expected"]);
    check(b"NNR.", &["a function is expected"]);
    check(
        b"ctorch\nFloatStorage\n)R.",
        &["TypedStorage", "0 arguments"],
    );
    check(b"NQ.", &["a tuple is expected"]);
    check(
        b"(X\x05\0\0\0otherNNNNtQ.",
        &["something else than a storage"],
    );
    let long_name = format!("c{}\n{}\n.", "a".repeat(1 << 20), "b".repeat(1 << 20));
    check(long_name.as_bytes(), &["only tensors"]);
}

#[test]
fn tensors_outside_their_storage_are_refused() {
    let check = |name: &str, start, shape: &[i32], strides: &[i32], parts: &[&str]| {
        let file = written(&with_pickle(&one_tensor(name, start, shape, strides)));
        check_error(open(&file.path), parts);
    };
    let sound = written(&with_pickle(&one_tensor("w", 0, &[2, 2], &[2, 1])));
    assert_eq!(open(&sound.path).unwrap().shape("w").unwrap(), [2, 2]);
    let outside = "does not lie within its storage of 4";
    check("w", 0, &[5], &[1], &["`w`", outside]);
    check("w", 1, &[4], &[1], &["`w`", outside]);
    check("w", 5, &[0], &[1], &["`w`", outside]);
    check("w", 0, &[2, 2], &[3, 1], &["`w`", outside]);
    check(
        "w",
        0,
        &[i32::MAX, i32::MAX, i32::MAX],
        &[0, 0, 0],
        &["`w`", outside],
    );
    check("w", 0, &[i32::MAX], &[i32::MAX], &["`w`", outside]);
    check("w", 0, &[1 << 20], &[0], &["`w`", outside]);
    check("w", 0, &[2], &[1, 1], &["shape [2] and strides [1, 1]"]);
    check("w", -1, &[2], &[1], &["-1 is negative"]);
    check("w", 0, &[-2], &[1], &["-2 is negative"]);
    check("w", 0, &[1; 65], &[1; 65], &["65 dimensions"]);
    check("../w", 0, &[4], &[1], &["`../w`", "out of a folder"]);
    check("a\0b", 0, &[4], &[1], &["NUL"]);
    check(&"w".repeat(1 << 20), 0, &[4], &[1], &["1048576 bytes"]);
}

#[test]
fn faulty_archives_are_refused() {
    let check = |bytes: &[u8], parts: &[&str]| {
        check_error(
            open(&written(bytes).path),
            &[parts, &["model.bin"]].concat(),
        );
    };
    let stored = zip::CompressionMethod::Stored;
    let pickle = one_tensor("w", 0, &[4], &[1]);
    check(b"", &["model.bin"]);
    check(b"PK\x03\x04", &["archive"]);
    check(b"not a checkpoint", &["header"]);
    check(
        &archive(&[("m/other", b"")], stored),
        &["0 parts `data.pkl`"],
    );
    check(
        &archive(&[("m/data.pkl", &pickle)], stored),
        &["storage `0` is missing"],
    );
    let two: [(&str, &[u8]); 2] = [("a/data.pkl", &pickle), ("b/data.pkl", &pickle)];
    check(&archive(&two, stored), &["2 parts `data.pkl`"]);
    let big: [(&str, &[u8]); 2] = [("m/data.pkl", &pickle), ("m/byteorder", b"big")];
    check(&archive(&big, stored), &["big endian"]);
    let huge = vec![b'N'; (32 << 20) + 1];
    check(
        &archive(&[("m/data.pkl", &huge)], stored),
        &["33554432 are allowed"],
    );
    let sound = with_pickle(&pickle);
    for len in 0..sound.len() {
        assert!(open(&written(&sound[..len]).path).is_err(), "{len}");
    }
    let legacy = fs::read(golden("torch/legacy.bin")).unwrap();
    for len in [0, 1, 10, 20, 60, 200, 1000, legacy.len() - 1] {
        assert!(open(&written(&legacy[..len]).path).is_err(), "{len}");
    }
}

/// A pickle that copies what it has over and over takes no more memory than its length allows.
#[test]
fn pickles_do_not_grow() {
    let mut pickle = b"]q\0(".to_vec();
    pickle.extend(b"]".repeat(1000));
    pickle.extend(b"e");
    // The list of pairs is taken by the first dictionary that is made of it.
    for _ in 0..10_000 {
        pickle.extend(b"ccollections\nOrderedDict\nh\0\x85R");
    }
    pickle.extend(b".");
    check_error(
        open(&written(&with_pickle(&pickle)).path),
        &["a pair is expected"],
    );
    // Nested a million times, and dropped without recursion.
    let nested = [&b"N"[..], &b"\x85".repeat(1 << 20), b"."].concat();
    check_error(
        open(&written(&with_pickle(&nested)).path),
        &["a tuple is there"],
    );
    // A list within itself.
    check_error(
        open(&written(&with_pickle(b"]q\0h\0a.")).path),
        &["a list is there"],
    );
    check_error(
        open(&written(&with_pickle(b"}q\0X\x05\0\0\0modelh\0s.")).path),
        &["there are no tensors"],
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens to the bytes, opening and reading gives tensors or errors.
    #[test]
    fn damaged_files_never_panic(
        legacy in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let name = if legacy { "torch/legacy.bin" } else { "torch/zip.bin" };
        let mut bytes = fs::read(golden(name)).unwrap();
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        if let Ok(checkpoint) = open(&written(&bytes).path) {
            for name in checkpoint.names() {
                if let Ok(tensor) = checkpoint.tensor(name) {
                    prop_assert_eq!(tensor.shape(), checkpoint.shape(name).unwrap());
                }
            }
        }
    }
}
