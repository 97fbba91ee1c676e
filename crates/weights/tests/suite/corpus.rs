//! The corpus of the fuzz targets, replayed.

#[path = "../../../../fuzz/src/readers.rs"]
mod readers;

use std::fs;
use std::path::Path;

/// A target and its name.
type Target = (&'static str, fn(&[u8]));

#[test]
fn nothing_in_the_corpus_does_harm() {
    let targets: [Target; 4] = [
        ("safetensors", readers::safetensors),
        ("index", readers::index),
        ("gguf", readers::gguf),
        ("pickle", readers::pickle),
    ];
    for (target, run) in targets {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
        let mut files = 0;
        for entry in fs::read_dir(folder.join(target)).unwrap() {
            let path = entry.unwrap().path();
            eprintln!("{}", path.display());
            run(&fs::read(path).unwrap());
            files += 1;
        }
        assert!(files >= 3, "{target}");
    }
}
