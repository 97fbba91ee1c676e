//! `transformers tokenize` and `transformers train-tokenizer` as a user runs them.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

fn golden(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tokenization/tests/golden");
    folder.join(name).to_str().unwrap().to_owned()
}

fn run(arguments: &[&str], stdin: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_transformers"));
    command
        .env("HF_HUB_OFFLINE", "1")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(stdin.unwrap_or_default().as_bytes()).ok();
    drop(input);
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[track_caller]
fn check(arguments: &[&str], stdin: &str, expected: &str) {
    let output = run(arguments, Some(stdin));
    assert_eq!(text(&output.stderr), "");
    assert_eq!(text(&output.stdout), expected);
    assert!(output.status.success());
}

#[track_caller]
fn check_error(arguments: &[&str], stdin: &str, code: i32, expected: &str) {
    let output = run(arguments, Some(stdin));
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(expected), "{expected} is not in: {stderr}");
}

#[test]
fn tokens_stand_in_columns() {
    let model = golden("word_piece");
    check(
        &["tokenize", "-m", &model, "The sea", "a"],
        "",
        "  2  [CLS]\n 37  t      0..1  \"T\"\n123  ##he   1..3  \"he\"\n 36  s      4..5  \"s\"\n \
         81  ##e    5..6  \"e\"\n 77  ##a    6..7  \"a\"\n  3  [SEP]\n\n 2  [CLS]\n18  a      0..1  \"a\"\n 3  [SEP]\n",
    );
}

#[test]
fn ids_counts_and_json_are_one_line_for_each_text() {
    let model = golden("byte_level");
    let tokenize = ["tokenize", "-m", &model];
    let with = |more: &[&'static str]| [&tokenize[..], more].concat();
    let golden: Vec<Value> =
        serde_json::from_str(&fs::read_to_string(self::golden("byte_level/texts.json")).unwrap())
            .unwrap();
    let row = golden.iter().find(|row| row[0] == "Hello, world!").unwrap();
    let ids: Vec<u32> = serde_json::from_value(row[2].clone()).unwrap();
    let words = ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");

    check(
        &with(&["--ids", "Hello, world!"]),
        "",
        &format!("{words}\n"),
    );
    check(
        &with(&["--ids"]),
        "Hello, world!\n\nHello, world!\n",
        &format!("{words}\n\n{words}\n"),
    );
    check(
        &with(&["--count"]),
        "Hello, world!\na\n",
        &format!("{}\n1\n", ids.len()),
    );
    check(&with(&["--whole", "--count"]), "a\na\n", "4\n");
    check(
        &with(&["--decode"]),
        &format!("{words}\n{}\n", words.replace(' ', ",")),
        "Hello, world!\nHello, world!\n",
    );
    let words: Vec<&str> = words.split(' ').collect();
    check(
        &[&with(&["--decode"])[..], &words[..]].concat(),
        "",
        "Hello, world!\n",
    );

    let output = run(&with(&["--json"]), Some("é a\n"));
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(line["text"], "é a");
    assert_eq!(
        line["tokens"].as_array().unwrap().last(),
        Some(&json!("Ġa"))
    );
    assert_eq!(
        line["offsets"].as_array().unwrap().last(),
        Some(&json!([1, 3]))
    );
    assert_eq!(
        line["ids"].as_array().unwrap().len(),
        line["offsets"].as_array().unwrap().len()
    );
}

#[test]
fn special_tokens_can_be_left_out() {
    let model = golden("word_piece");
    let count = |more: &[&str]| {
        let output = run(
            &[&["tokenize", "-m", &model, "--count", "the"], more].concat(),
            None,
        );
        text(&output.stdout).trim().parse::<usize>().unwrap()
    };
    assert_eq!((count(&[]), count(&["--no-special-tokens"])), (4, 2));
    check(
        &[
            "tokenize",
            "-m",
            &model,
            "--decode",
            "--no-special-tokens",
            "2",
            "3",
        ],
        "",
        "\n",
    );
}

#[test]
fn a_tokenizer_is_held_against_the_file_alone() {
    let (model, file) = (golden("byte_level"), golden("byte_level/tokenizer.json"));
    check(&["tokenize", "-m", &model, "--verify"], "Hello\na b\n", "");
    check(
        &["tokenize", "-m", &model, "--verify", &file],
        "Hello\na b\n",
        "",
    );
    // A file of another vocabulary.
    let output = run(
        &[
            "tokenize",
            "-m",
            &golden("byte_level.gguf"),
            "--verify",
            &file,
        ],
        Some("Hello\n"),
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("\n  alone  "));
    // The settings beside the file name a token that the file does not have.
    let output = run(
        &["tokenize", "-m", &model, "--verify"],
        Some("a\n<image>\n"),
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stdout).starts_with("\"<image>\"\n  model  "),
        "{}",
        text(&output.stdout)
    );
    assert!(text(&output.stderr).contains("1 of 2 texts are read differently"));
    check_error(
        &["tokenize", "-m", &golden("byte_level.gguf"), "--verify"],
        "a",
        1,
        "tokenizer.json",
    );
}

#[test]
fn what_is_wrong_is_said() {
    let model = golden("byte_level");
    check_error(
        &["tokenize", "-m", &model, "--decode", "x"],
        "",
        2,
        "`x` is not an id",
    );
    check_error(
        &["tokenize", "-m", "/no/such/folder/", "a"],
        "",
        1,
        "/no/such/folder",
    );
    check_error(
        &["tokenize", "-m", &model, "--ids", "--json", "a"],
        "",
        2,
        "cannot be used with",
    );
    let train = [
        "train-tokenizer",
        "--output",
        "/dev/null/x",
        "--vocab-size",
        "300",
    ];
    let with = |more: &[&'static str]| [&train[..], more].concat();
    check_error(&with(&[]), "a b", 2, "--class");
    check_error(
        &with(&["--class", "NoTokenizer"]),
        "a b",
        2,
        "BertTokenizer, ",
    );
    check_error(
        &with(&["--class", "BertTokenizer"]),
        "",
        1,
        "no text to train on",
    );
    check_error(
        &with(&["--class", "BertTokenizer", "/no/such.txt"]),
        "",
        1,
        "reading /no/such.txt failed",
    );
    check_error(
        &with(&["--class", "BertTokenizer", "--special-token", "x"]),
        "",
        2,
        "ends in _token",
    );
    check_error(
        &with(&["--class", "BertTokenizer"]),
        "a b",
        1,
        "/dev/null/x",
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("latin1.txt");
    fs::write(&file, b"a b c\nna\xefve\n").unwrap();
    let file = file.to_str().unwrap();
    check_error(
        &[&with(&["--class", "BertTokenizer"])[..], &[file]].concat(),
        "",
        1,
        "latin1.txt failed",
    );
}

#[test]
fn every_algorithm_trains_from_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let prose =
        "the sea and the river and the rain\nthe seas, the rivers and the rains of the land\n";
    fs::write(path("a.txt"), prose.repeat(9)).unwrap();
    fs::write(path("b.txt"), "who sees the sea sees the rain\n".repeat(5)).unwrap();
    for (name, arguments) in [
        ("bpe", &["--algorithm", "bpe"][..]),
        ("unigram", &["--algorithm", "unigram"]),
        ("wordpiece", &["--algorithm", "wordpiece"]),
        ("wordlevel", &["--algorithm", "wordlevel"]),
        ("class", &["--class", "LlamaTokenizer"]),
        ("like", &["--like", "LIKE"]),
    ] {
        let like = golden("byte_level");
        let arguments: Vec<&str> = arguments
            .iter()
            .map(|argument| {
                if *argument == "LIKE" {
                    like.as_str()
                } else {
                    argument
                }
            })
            .collect();
        let output = path(name);
        let files = (path("a.txt"), path("b.txt"));
        let common = [
            "train-tokenizer",
            &files.0,
            &files.1,
            "--output",
            &output,
            "--vocab-size",
            "300",
            "--special-token",
            "pad_token=<padding>",
            "--extra-special-token",
            "<tool>",
        ];
        let trained = run(&[&common[..], &arguments].concat(), None);
        assert_eq!(text(&trained.stderr), "", "{name}");
        assert!(
            text(&trained.stdout).ends_with(&format!("tokens in {output}\n")),
            "{name}"
        );
        assert!(
            PathBuf::from(&output)
                .join("tokenizer_config.json")
                .exists()
        );

        let read = run(
            &[
                "tokenize",
                "-m",
                &output,
                "--json",
                "the<tool> rain<padding>",
            ],
            None,
        );
        let line: Value = serde_json::from_slice(&read.stdout).unwrap();
        let tokens: Vec<&str> = line["tokens"]
            .as_array()
            .unwrap()
            .iter()
            .map(|token| token.as_str().unwrap())
            .collect();
        assert!(
            tokens.contains(&"<tool>") && tokens.contains(&"<padding>"),
            "{name}: {tokens:?}"
        );
        assert!(tokens.len() <= 10, "{name}: {tokens:?}");
    }
}
