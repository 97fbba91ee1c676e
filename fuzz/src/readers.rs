//! What the fuzz targets and the replayed corpus do with bytes: read everything that is in them. Errors are fine; a panic,
//! a hang or memory without end is not.
#![allow(dead_code)] // each target calls one of them

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use transformers_config::AutoConfig;
use transformers_hub::{HubOptions, ModelFiles};
use transformers_weights::{Checkpoint, OpenOptions};
use zip::write::SimpleFileOptions;

/// As `model.safetensors`.
pub fn safetensors(bytes: &[u8]) {
    as_file("model.safetensors", bytes);
}

/// As the index of two shards.
pub fn index(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder for the file");
    let write = |name: &str, bytes: &[u8]| {
        fs::write(folder.path().join(name), bytes).expect("the file can be written");
    };
    write("model.safetensors.index.json", bytes);
    for name in ["a", "b"] {
        let header = format!(r#"{{"{name}":{{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}}}"#);
        let length = (header.len() as u64).to_le_bytes();
        write(name, &[&length[..], header.as_bytes(), &[7]].concat());
    }
    let files = ModelFiles::resolve(folder.path(), &HubOptions::default());
    let files = files.expect("the folder is there");
    read(Checkpoint::open(&files, &OpenOptions::default()).ok());
}

/// As a GGUF file.
pub fn gguf(bytes: &[u8]) {
    as_file("model.gguf", bytes);
}

/// As a file of `torch.save`, of the older form or an archive; and as the pickle in an archive with one storage.
pub fn pickle(bytes: &[u8]) {
    as_file("pytorch_model.bin", bytes);
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in [("m/data.pkl", bytes), ("m/data/0", &[1; 64])] {
        archive.start_file(name, stored).expect("a part begins");
        archive.write_all(bytes).expect("a part is written");
    }
    let archive = archive.finish().expect("the archive ends");
    as_file("pytorch_model.bin", &archive.into_inner());
}

fn as_file(name: &str, bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder for the file");
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("the file can be written");
    if name.ends_with(".gguf") {
        let _ = AutoConfig::from_gguf_file(&path);
    }
    for mmap in [true, false] {
        read(open(&path, mmap));
    }
}

fn open(path: &Path, mmap: bool) -> Option<Checkpoint> {
    let options = OpenOptions {
        mmap,
        ..OpenOptions::default()
    };
    Checkpoint::open_file(path, &options).ok()
}

/// Every tensor, in each form that there is; none is larger than what it was read from can hold.
fn read(checkpoint: Option<Checkpoint>) {
    let Some(checkpoint) = checkpoint else { return };
    for name in checkpoint.names() {
        let shape = checkpoint.shape(name).expect("a name has a shape");
        let stored = checkpoint.stored(name).expect("a name is stored");
        if let Ok(tensor) = checkpoint.tensor(name) {
            assert_eq!(tensor.shape(), shape);
            assert!(tensor.bytes().len() <= 64 * stored.bytes, "{stored:?}");
        }
        if let Ok(Some(blocks)) = checkpoint.blocks(name) {
            assert_eq!(blocks.bytes.len(), stored.bytes);
        }
    }
}
