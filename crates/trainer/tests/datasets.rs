//! Datasets from files, and what is made of them.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use parquet::basic::{Compression, GzipLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use tempfile::TempDir;
use transformers_trainer::TrainerError;
use transformers_trainer::data::{
    Dataset, Example, Files, IterableDataset, ReadInstruction, Table, Value, infer_splits,
    load_dataset, local_splits, read_text_folder,
};

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn load(name: &str, text: &str) -> Result<Vec<Example>, String> {
    let folder = folder(&[(name, text)]);
    let files = Files::new([folder.path().join(name)]).unwrap();
    let path = folder.path().join(name).display().to_string();
    files
        .load()
        .map_err(|error| error.to_string().replace(&path, name))
}

fn json(examples: &[Example]) -> String {
    let lines: Vec<String> = examples
        .iter()
        .map(|example| serde_json::to_string(example).unwrap())
        .collect();
    lines.join("\n")
}

#[test]
fn json_is_lines_or_an_array() {
    let lines = "{\"text\":\"a\",\"n\":1,\"x\":[1,2.5],\"m\":[{\"role\":\"user\"}]}\n\n  {\"text\":null,\"n\":true}\n";
    let examples = load("a.jsonl", lines).unwrap();
    let expect = "{\"text\":\"a\",\"n\":1,\"x\":[1.0,2.5],\"m\":[{\"role\":\"user\"}]}\n{\"text\":null,\"n\":true}";
    assert_eq!(json(&examples), expect);
    assert_eq!(
        load("a.json", " [{\"a\": []}, {\"a\": \"é\"}]")
            .unwrap()
            .len(),
        2
    );
    assert_eq!(load("a.json", "").unwrap().len(), 0);
    for (name, text, expect) in [
        (
            "a.jsonl",
            "{\"a\": 1}\n{\"a\": }\n",
            "a.jsonl: line 2: expected value at line 1 column 7",
        ),
        (
            "a.jsonl",
            "7",
            "a.jsonl: line 1: a whole number instead of an object",
        ),
        (
            "a.json",
            "[{\"a\": 1}, \"b\"]",
            "a.json: item 1: a text instead of an object",
        ),
        (
            "a.json",
            "[{\"a\": 1}",
            "a.json: EOF while parsing a list at line 1 column 9",
        ),
    ] {
        assert_eq!(load(name, text).unwrap_err(), expect);
    }
}

#[test]
fn columns_of_csv_have_a_kind() {
    let text = "id,share,text,flag,none,mixed\n1,0.5,\"a, b\",true,,1\n2,1,\"two\nlines\",False,,x\n,,,,,\n";
    let expect = "{\"id\":1,\"share\":0.5,\"text\":\"a, b\",\"flag\":true,\"none\":null,\"mixed\":\"1\"}\n\
                  {\"id\":2,\"share\":1.0,\"text\":\"two\\nlines\",\"flag\":false,\"none\":null,\"mixed\":\"x\"}\n\
                  {\"id\":null,\"share\":null,\"text\":null,\"flag\":null,\"none\":null,\"mixed\":null}";
    assert_eq!(json(&load("a.csv", text).unwrap()), expect);
    assert_eq!(
        json(&load("a.tsv", "a\tb\n1\t2,5\n").unwrap()),
        "{\"a\":1,\"b\":\"2,5\"}"
    );
    assert_eq!(
        load("a.csv", "a,a\n1,2\n").unwrap_err(),
        "a.csv: two columns are named `a`"
    );
    assert!(
        load("a.csv", "a,b\n1\n")
            .unwrap_err()
            .contains("a.csv: CSV error")
    );
}

#[test]
fn text_is_lines() {
    let examples = load("a.txt", "one\n\ntwo\r\n").unwrap();
    assert_eq!(
        json(&examples),
        "{\"text\":\"one\"}\n{\"text\":\"\"}\n{\"text\":\"two\"}"
    );
    let folder = folder(&[("a.txt", "x\n")]);
    fs::write(folder.path().join("a.txt"), b"fine\n\xff\xfe\nmore\n").unwrap();
    let files = Files::new([folder.path().join("a.txt")]).unwrap();
    let read: Vec<_> = files.examples().unwrap().collect();
    assert_eq!(
        (read.len(), read[0].is_ok(), read[1].is_err()),
        (2, true, true),
        "nothing comes after an error"
    );
}

#[test]
fn unknown_files_are_refused() {
    for name in ["a.jsonl.gz", "a", "a.bin"] {
        let error = Files::new([name]).unwrap_err().to_string();
        assert!(
            error.starts_with(name) && error.contains(".parquet"),
            "{error}"
        );
    }
    let error = Files::new(["missing.csv"])
        .unwrap()
        .load()
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("opening missing.csv failed"), "{error}");
}

fn write_parquet(path: &Path, compression: Compression) {
    let schema = "message rows {
        required binary text (UTF8); optional int64 label; optional group ids (LIST) { repeated group list { optional int32 element; } }
    }";
    let schema = std::sync::Arc::new(parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .build();
    let file = fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, properties.into()).unwrap();
    for group in 0..2 {
        let mut rows = writer.next_row_group().unwrap();
        let mut at = 0;
        while let Some(mut column) = rows.next_column().unwrap() {
            match (at, column.untyped()) {
                (0, ColumnWriter::ByteArrayColumnWriter(column)) => {
                    let texts: Vec<ByteArray> = ["a", "é"]
                        .map(|text| format!("{text}{group}").as_str().into())
                        .into();
                    column.write_batch(&texts, None, None).unwrap();
                }
                (1, ColumnWriter::Int64ColumnWriter(column)) => {
                    column.write_batch(&[7], Some(&[1, 0]), None).unwrap();
                }
                (2, ColumnWriter::Int32ColumnWriter(column)) => {
                    column
                        .write_batch(&[1, 2, 3], Some(&[3, 3, 3]), Some(&[0, 1, 0]))
                        .unwrap();
                }
                _ => unreachable!(),
            }
            column.close().unwrap();
            at += 1;
        }
        rows.close().unwrap();
    }
    writer.close().unwrap();
}

fn golden(compression: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    folder.join(format!("{compression}.parquet"))
}

#[test]
fn parquet_of_another_writer() {
    for compression in ["snappy", "gzip"] {
        let expect = "{\"text\":\"first\",\"label\":1,\"score\":0.5,\"keep\":true,\"ids\":[1,2,3],\"nested\":[[0.5],[]],\
                      \"messages\":[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\",\"content\":\"Hello!\"}],\"kind\":\"a\"}\n\
                      {\"text\":\"zweite ß\",\"label\":null,\"score\":-2.0,\"keep\":false,\"ids\":null,\"nested\":[[1.0,2.0]],\
                      \"messages\":[],\"kind\":\"a\"}";
        assert_eq!(
            json(&load_dataset(golden(compression), "train").unwrap()),
            expect
        );
    }
}

#[test]
fn parquet_is_read_by_row_groups() {
    let folder = tempfile::tempdir().unwrap();
    for compression in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
    ] {
        let path = folder.path().join("rows.parquet");
        write_parquet(&path, compression);
        let expect = "{\"text\":\"a0\",\"label\":7,\"ids\":[1,2]}\n{\"text\":\"é0\",\"label\":null,\"ids\":[3]}\n\
                      {\"text\":\"a1\",\"label\":7,\"ids\":[1,2]}\n{\"text\":\"é1\",\"label\":null,\"ids\":[3]}";
        assert_eq!(json(&load_dataset(&path, "train").unwrap()), expect);
    }
    let error = load_dataset(golden("zstd"), "train")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`text` is compressed by ZSTD") && error.contains("snappy or gzip"),
        "{error}"
    );
}

#[test]
fn damaged_parquet_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    write_parquet(&path, Compression::SNAPPY);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        fs::write(&path, damaged).unwrap();
        let _ = load_dataset(&path, "train"); // an answer or an error, but no panic
    }
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(load_dataset(&path, "train").is_err());
}

#[test]
fn folders_have_splits() {
    let files = folder(&[
        ("train.jsonl", "{\"a\":1}\n{\"a\":2}"),
        ("test/part.jsonl", "{\"a\":3}"),
        ("README.md", ""),
    ]);
    assert_eq!(load_dataset(files.path(), "train").unwrap().len(), 2);
    assert_eq!(load_dataset(files.path(), "test").unwrap().len(), 1);
    let error = load_dataset(files.path(), "validation")
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "there is no split `validation`; there are: test, train"
    );
    let error = local_splits(folder(&[("README.md", "")]).path())
        .unwrap_err()
        .to_string();
    assert!(error.contains("it has no .jsonl"), "{error}");
    assert!(infer_splits([]).is_empty());
}

#[test]
fn a_folder_for_each_class() {
    let files = folder(&[
        ("spam/2.txt", "buy"),
        ("ham/b.txt", "hi\nyou"),
        ("spam/1.txt", "win"),
        (".git/x", ""),
    ]);
    let (examples, classes) = read_text_folder(files.path()).unwrap();
    assert_eq!(classes, ["ham", "spam"]);
    assert_eq!(
        json(&examples),
        "{\"text\":\"hi\\nyou\",\"label\":0}\n{\"text\":\"win\",\"label\":1}\n{\"text\":\"buy\",\"label\":1}"
    );
    assert!(read_text_folder(folder(&[("a.txt", "")]).path()).is_err());
}

fn numbers(range: std::ops::Range<i64>) -> Table {
    Table::new(
        range
            .map(|n| Example::new().with("n", n))
            .collect::<Vec<_>>(),
    )
}

fn values(table: &Table) -> Vec<i64> {
    let value = |index| {
        table
            .get(index)
            .unwrap()
            .get("n")
            .and_then(Value::as_integer)
            .unwrap()
    };
    (0..table.len()).map(value).collect()
}

#[test]
fn tables_are_selected_shuffled_split_and_joined() {
    let table = numbers(0..10);
    let odd = table
        .filter(|row| Ok(row.require("n")?.as_integer() > Some(4)))
        .unwrap();
    assert_eq!(values(&odd), [5, 6, 7, 8, 9]);
    assert_eq!(values(&odd.select([1, 1, 4]).unwrap()), [6, 6, 9]);
    assert!(odd.select([5]).is_err() && odd.get(5).is_err());
    // torch.randperm(10) with the seed 42.
    assert_eq!(
        values(&table.shuffle(42).unwrap()),
        [2, 6, 1, 8, 4, 5, 0, 9, 3, 7]
    );
    let (train, test) = table.train_test_split(0.25, 42).unwrap();
    assert_eq!(
        (values(&train), values(&test)),
        (vec![8, 4, 5, 0, 9, 3, 7], vec![2, 6, 1])
    );
    assert_eq!(table.train_test_split(4.0, 0).unwrap().1.len(), 4);
    for size in [0.0, 1.5, -1.0, 10.0, f64::NAN, 0.99] {
        assert!(table.train_test_split(size, 0).is_err(), "{size}");
    }
    let joined = Table::concatenate([numbers(0..2), odd, numbers(7..7)]).unwrap();
    assert_eq!(values(&joined), [0, 1, 5, 6, 7, 8, 9]);
    assert!(joined.get(7).is_err());
    let other = Table::new(vec![Example::new().with("x", 1_i64)]);
    assert!(Table::concatenate([joined, other]).is_err());
}

fn cache_files(cache: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cache).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn what_a_function_made_is_kept() {
    let cache = tempfile::tempdir().unwrap();
    let mut calls = 0;
    let mut double = |table: &Table, name: &str| {
        let mapped = table.map_cached(name, cache.path(), |row| {
            calls += 1;
            let n = row.require("n")?.as_integer().unwrap_or(0);
            Ok(row.with("n", 2 * n))
        });
        (values(&mapped.unwrap()), calls)
    };
    let table = numbers(1..4);
    assert_eq!(double(&table, "double"), (vec![2, 4, 6], 3));
    assert_eq!(
        double(&table, "double"),
        (vec![2, 4, 6], 3),
        "from the cache"
    );
    assert_eq!(
        double(&numbers(2..4), "double"),
        (vec![4, 6], 5),
        "other rows"
    );
    assert_eq!(
        double(&table, "twice"),
        (vec![2, 4, 6], 8),
        "another function"
    );
    assert_eq!(cache_files(cache.path()).len(), 3);
    for path in cache_files(cache.path()) {
        fs::write(path, "{\"n\": 2}\n{").unwrap();
    }
    assert_eq!(
        double(&table, "double"),
        (vec![2, 4, 6], 11),
        "a damaged file is made anew"
    );

    let kept = |table: &Table| {
        values(
            &table
                .filter_cached("odd", cache.path(), |row| {
                    Ok(row.require("n")?.as_integer() > Some(1))
                })
                .unwrap(),
        )
    };
    assert_eq!((kept(&table), kept(&table)), (vec![2, 3], vec![2, 3]));
}

#[test]
fn parts_of_splits_are_those_of_the_reference() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/read_instruction.json");
    let golden: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let lengths: Vec<BTreeMap<String, usize>> =
        serde_json::from_value(golden["lengths"].clone()).unwrap();
    for case in golden["cases"].as_array().unwrap() {
        let split = case["split"].as_str().unwrap();
        let parts: Vec<Option<Vec<(String, usize, usize)>>> =
            serde_json::from_value(case["parts"].clone()).unwrap();
        for (lengths, expect) in lengths.iter().zip(parts) {
            let found = split.parse::<ReadInstruction>();
            let found = found.and_then(|read| read.to_absolute(lengths)).ok();
            let expect = expect.map(|parts| {
                let range = |(split, from, to): (String, usize, usize)| (split, from..to.max(from));
                parts.into_iter().map(range).collect::<Vec<_>>()
            });
            assert_eq!(found, expect, "{split}: {lengths:?}");
        }
    }
}

#[test]
fn parts_of_splits_are_read() {
    let lines = |range: std::ops::Range<i64>| -> String {
        range.map(|n| format!("{{\"n\": {n}}}\n")).collect()
    };
    // What is behind the end of a slice that is counted is not read.
    let more = lines(10..13) + "broken\n";
    let folder = folder(&[
        ("train.jsonl", &lines(0..10)),
        ("test.jsonl", &more),
        ("dev.jsonl", "{\"m\": 1}\n"),
    ]);
    let load = |split: &str| {
        let rows = load_dataset(folder.path(), split)?;
        Ok::<_, TrainerError>(values(&Table::new(rows)))
    };
    assert_eq!(load("train").unwrap(), (0..10).collect::<Vec<_>>());
    assert_eq!(load("train[:25%]").unwrap(), [0, 1]);
    assert_eq!(load("train[-2:]+train[1:2]").unwrap(), [8, 9, 1]);
    assert_eq!(load("train[8:]+test[1:3]").unwrap(), [8, 9, 11, 12]);
    assert_eq!(load("train[3:3]").unwrap(), [] as [i64; 0]);
    assert!(matches!(
        load("test"),
        Err(TrainerError::InvalidFile { .. })
    ));
    for (split, expect) in [
        (
            "train[:200%]",
            "split `train[:200%]`: shares are from -100% to 100%",
        ),
        (
            "train[a:]",
            "split `train[a:]`: `train[a:]` is not of the form split[from:to]",
        ),
        (
            "train[:10%](pct1_dropremainder)",
            "split `train`: it has 10 examples: below 100 every whole percent of a split is empty",
        ),
        (
            "train[:1]+odd",
            "there is no split `odd`; there are: test, train, validation",
        ),
        (
            "train[:1]+validation",
            "the columns of the datasets differ: m instead of n",
        ),
    ] {
        assert_eq!(load(split).unwrap_err().to_string(), expect);
    }
}
