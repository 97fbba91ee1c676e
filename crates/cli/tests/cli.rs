//! The binary as a user runs it, on a model small enough to be committed.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::fs;

use std::process::{Command, Output, Stdio};

use common::{ANSWER, QUESTION, case, check, check_error, command, stdout, text, tiny, with_stdin};
use serde_json::Value;

#[test]
fn a_message_is_answered() {
    check(
        &["generate", "--model", "MODEL", "--chat", QUESTION],
        ANSWER,
    );
    check(
        &[
            "generate",
            "-m",
            "MODEL",
            "-c",
            QUESTION,
            "--no-cache",
            "--no-mmap",
            "--device",
            "cpu",
        ],
        ANSWER,
    );
}

#[test]
fn beams_and_drafts_find_the_answer_too() {
    let question = ["generate", "--model", "MODEL", "--chat", QUESTION];
    check(&[&question[..], &["--num-beams", "3"]].concat(), ANSWER);
    check(&[&question[..], &["--prompt-lookup", "4"]].concat(), ANSWER);
}

#[test]
fn what_is_kept_of_a_prompt_changes_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prompt.safetensors");
    let file = file.to_str().unwrap();
    let question = ["generate", "--model", "MODEL", "--chat", QUESTION];
    let kept = [&question[..], &["--prompt-cache", file]].concat();
    check(&kept, ANSWER);
    let first = fs::read(file).unwrap();
    check(&kept, ANSWER);
    assert_eq!(fs::read(file).unwrap(), first, "nothing new was read");
    fs::write(file, b"damaged").unwrap();
    check_error(
        &kept,
        1,
        &["prompt.safetensors", "damaged", "remove the file"],
    );
    assert_eq!(fs::read(file).unwrap(), b"damaged");
}

#[test]
fn an_assistant_and_guidance_go_by_flags() {
    let question = ["generate", "--model", "MODEL", "--chat", QUESTION];
    check(&[&question[..], &["--assistant", "MODEL"]].concat(), ANSWER);
    let same = ["--guidance-scale", "1", "--negative-prompt", "no"];
    check(&[&question[..], &same].concat(), ANSWER);
    let guided = [&question[..], &["--guidance-scale", "1.1"]].concat();
    assert!(!stdout(&command(&guided).output().unwrap()).is_empty());
    let alone = [&question[..], &["--negative-prompt", "no"]].concat();
    check_error(&alone, 2, &["--guidance-scale"]);
    let missing = [&question[..], &["--assistant", "./missing"]].concat();
    check_error(&missing, 1, &["missing"]);
}

#[test]
fn an_answer_can_be_constrained() {
    let question = ["generate", "--model", "MODEL", "--chat", QUESTION];
    let choices = ["--choice", "The capital", "--choice", "The city"];
    check(&[&question[..], &choices].concat(), "The capital\n");
    let regex = ["--regex", "The [a-z]{7} of"];
    check(&[&question[..], &regex].concat(), "The capital of\n");
    let broken = [&question[..], &["--regex", "("]].concat();
    check_error(&broken, 1, &["the grammar is refused"]);
    let both = [&question[..], &regex, &choices].concat();
    check_error(&both, 2, &["cannot be used with"]);
    let missing = [&question[..], &["--json-schema", "missing.json"]].concat();
    check_error(&missing, 1, &["missing.json"]);
}

#[test]
fn a_prompt_is_continued() {
    check(
        &["generate", "--model", "MODEL", "--prompt", "The capital of"],
        " France is Paris.\n",
    );
    let stopped = [
        "generate",
        "--model",
        "MODEL",
        "--prompt",
        "The capital",
        "--stop",
        "xyz",
        "--stop",
        "is",
    ];
    check(&stopped, " of France is\n");
    let limited = stdout(
        &command(&[
            "generate",
            "-m",
            "MODEL",
            "-p",
            "The",
            "--max-new-tokens",
            "1",
        ])
        .output()
        .unwrap(),
    );
    assert!(
        ANSWER.starts_with(&format!("The{}", limited.trim_end())) && limited.len() < ANSWER.len(),
        "{limited}"
    );
}

#[test]
fn without_a_model_the_one_inside_the_program_writes_english() {
    let home = tempfile::tempdir().unwrap();
    let arguments = [
        "generate",
        "Once upon a time",
        "--max-new-tokens",
        "60",
        "--seed",
        "1",
    ];
    let mut command = command(&arguments);
    let text = stdout(&command.env("HF_HOME", home.path()).output().unwrap()).to_lowercase();
    let words = text.split(|c: char| !c.is_alphabetic());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    // Of any English text about half the words are these.
    let commonest = "the of and a to in that it is was i he his with as for you at by on be not but my had have him she they this all from so we me her or were an there";
    let commonest: Vec<&str> = commonest.split(' ').collect();
    let known = words.iter().filter(|word| commonest.contains(word)).count();
    assert!(words.len() > 20 && known * 4 > words.len(), "{text}");
}

#[test]
fn a_prompt_comes_from_stdin() {
    let output = with_stdin(&["generate", "--model", "MODEL"], "The capital of\n");
    assert_eq!(stdout(&output), " France is Paris.\n");
}

#[test]
fn a_seed_repeats_a_draw() {
    let draw = |seed: &str| {
        let arguments = [
            "generate",
            "-m",
            "MODEL",
            "-p",
            "The",
            "--temperature",
            "5",
            "--seed",
            seed,
        ];
        stdout(
            &command(&arguments)
                .args(["--max-new-tokens", "20"])
                .output()
                .unwrap(),
        )
    };
    assert_eq!(draw("1"), draw("1"));
    assert_ne!(draw("1"), draw("2"));
    let greedy = [
        "generate",
        "-m",
        "MODEL",
        "--chat",
        QUESTION,
        "--temperature",
        "5",
        "--do-sample=false",
    ];
    check(&greedy, ANSWER);
}

#[test]
fn stats_are_told_at_the_end() {
    let output = command(&[
        "generate", "--model", "MODEL", "--chat", QUESTION, "--stats",
    ])
    .output()
    .unwrap();
    assert_eq!(stdout(&output), ANSWER);
    let stats = text(&output.stderr);
    for part in [
        "tests/tiny",
        "load ",
        "prompt ",
        "generated ",
        " tokens/s",
        "first token ",
    ] {
        assert!(stats.contains(part), "{part} is not in: {stats}");
    }
    assert!(
        !cfg!(target_os = "linux") || stats.contains("MiB"),
        "{stats}"
    );
}

#[test]
fn wrong_models_are_errors() {
    let generate = |model: &str, code, expected: &[&str]| {
        check_error(
            &["generate", "--model", model, "--prompt", "x"],
            code,
            expected,
        );
    };
    generate("/no/such/folder", 1, &["/no/such/folder"]);
    generate("./no-such.gguf", 1, &["no-such.gguf"]);
    generate(
        "org/not-in-the-cache",
        1,
        &["org/not-in-the-cache", "HF_HUB_OFFLINE"],
    );

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    generate(path, 1, &[path]);
    for file in [
        "tokenizer.json",
        "tokenizer_config.json",
        "model.safetensors",
    ] {
        fs::copy(tiny().join(file), folder.path().join(file)).unwrap();
    }
    generate(path, 1, &["config.json"]);
    fs::write(
        folder.path().join("config.json"),
        r#"{"model_type": "frobnicator"}"#,
    )
    .unwrap();
    generate(path, 1, &["frobnicator", "llama"]);
    check_error(
        &["generate", "-m", path, "--chat", "x"],
        1,
        &["no chat template", "--prompt"],
    );
}

#[test]
fn wrong_arguments_are_errors() {
    let generate = |arguments: &[&str], code, expected: &[&str]| {
        check_error(
            &[&["generate", "--model", "MODEL"], arguments].concat(),
            code,
            expected,
        );
    };
    generate(&["--frob"], 2, &["--frob"]);
    generate(&["--prompt", "a", "--chat", "b"], 2, &["--chat"]);
    generate(
        &["--prompt", "a", "--system", "b"],
        2,
        &["--system", "--prompt"],
    );
    generate(&["--system", "b"], 2, &["--chat"]);
    generate(&["--prompt", "a", "--device", "tpu"], 2, &["tpu", "wgpu"]);
    generate(
        &["--prompt", "a", "--dtype", "int3"],
        2,
        &["int3", "bfloat16"],
    );
    generate(
        &["--prompt", "a", "--device", "cuda:7"],
        1,
        &["cuda:7", "Found: cpu"],
    );
    generate(
        &["--prompt", "a", "--temperature", "nan"],
        1,
        &["temperature"],
    );
    generate(
        &["--prompt", "a", "--max-new-tokens", "0"],
        1,
        &["max_new_tokens"],
    );
    generate(&["--prompt", ""], 1, &["prompt is empty"]);
    check_error(&["embed", "a"], 2, &["--model"]);
    check_error(&["frob"], 2, &["frob"]);
}

fn vectors(output: &Output) -> Vec<(Value, Vec<f64>)> {
    let line = |line: &str| {
        let mut value: Value = serde_json::from_str(line).unwrap();
        let embedding = serde_json::from_value(value["embedding"].take()).unwrap();
        (value, embedding)
    };
    stdout(output).lines().map(line).collect()
}

#[test]
fn texts_become_vectors() {
    let texts = ["Who are you?", "The capital of France", "The"];
    let arguments = [
        "embed",
        "--model",
        "MODEL",
        "--batch-size",
        "2",
        "--with-text",
    ];
    let by_argument = vectors(&command(&arguments).args(texts).output().unwrap());
    assert_eq!(by_argument.len(), 3);
    for (index, (line, vector)) in by_argument.iter().enumerate() {
        assert_eq!(
            (line["index"].as_u64(), line["text"].as_str()),
            (Some(index as u64), Some(texts[index]))
        );
        let length: f64 = vector.iter().map(|x| x * x).sum();
        assert!(
            vector.len() == 24 && (length - 1.0).abs() < 1e-5,
            "{length}"
        );
    }

    let by_line = vectors(&with_stdin(
        &["embed", "-m", "MODEL", "--batch-size", "3"],
        &texts.join("\n"),
    ));
    for ((line, vector), (_, expected)) in by_line.iter().zip(&by_argument) {
        assert!(line.get("text").is_none());
        let distance = vector
            .iter()
            .zip(expected)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f64::max);
        assert!(distance < 1e-5, "{distance}");
    }
    assert_eq!(by_line.len(), 3);

    let raw = vectors(
        &command(&["embed", "-m", "MODEL", "--no-normalize", "The"])
            .output()
            .unwrap(),
    );
    let length: f64 = raw[0].1.iter().map(|x| x * x).sum();
    assert!((length - 1.0).abs() > 0.01, "{length}");

    check_error(
        &["embed", "-m", "MODEL", "--prompt-name", "query", "a"],
        1,
        &["no prompt `query`"],
    );
    check_error(
        &["embed", "-m", "MODEL", "--batch-size", "0", "a"],
        2,
        &["--batch-size"],
    );
    check_error(
        &["embed", "-m", case("llama").to_str().unwrap(), "a"],
        1,
        &["tokenizer.json"],
    );
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    for arguments in [
        ["generate", "-m", "MODEL", "--chat", QUESTION].as_slice(),
        &["completions", "bash"],
    ] {
        let mut child = command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{}",
            text(&output.stderr)
        );
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_generation() {
    use std::io::Read;

    // Without an eos token and with a context to fill, it goes on for long.
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(tiny()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    let config = fs::read_to_string(tiny().join("config.json")).unwrap();
    let long = config.replace(
        "\"max_position_embeddings\": 64",
        "\"max_position_embeddings\": 1000000",
    );
    assert_ne!(config, long);
    fs::write(folder.path().join("config.json"), long).unwrap();
    let arguments = [
        "generate",
        "-p",
        "The",
        "--max-new-tokens",
        "900000",
        "--min-new-tokens",
        "900000",
        "-m",
    ];
    let mut child = command(&arguments)
        .arg(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();

    let mut first = [0];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut first)
        .unwrap();
    let interrupt = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(interrupt.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn the_machine_is_described() {
    let output = command(&["env"])
        .env("HF_TOKEN", "hf_secret")
        .env("HF_HUB_CACHE", "/some/cache")
        .output()
        .unwrap();
    let output = stdout(&output);
    for part in [
        env!("CARGO_PKG_VERSION"),
        "http",
        "cpu",
        "HF_HUB_OFFLINE=1",
        "HF_TOKEN=(set)",
        "/some/cache",
    ] {
        assert!(output.contains(part), "{part} is not in: {output}");
    }
    assert!(!output.contains("hf_secret"), "{output}");
}

#[test]
fn small_commands() {
    check(
        &["version"],
        concat!("transformers ", env!("CARGO_PKG_VERSION"), "\n"),
    );
    check(
        &["--version"],
        concat!("transformers ", env!("CARGO_PKG_VERSION"), "\n"),
    );
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = stdout(&command(&["completions", shell]).output().unwrap());
        assert!(
            script.contains("generate") && script.contains("max-new-tokens"),
            "{shell}"
        );
    }
    check_error(&["completions", "cobol"], 2, &["cobol", "bash"]);
    for command_name in [
        "generate",
        "embed",
        "convert",
        "inspect",
        "doctor",
        "tokenize",
        "train-tokenizer",
        "env",
        "version",
        "completions",
    ] {
        let help = stdout(&command(&["help", command_name]).output().unwrap());
        let teaches = ["env", "version"].contains(&command_name) || help.contains("Examples:");
        assert!(help.contains("Usage:") && teaches, "{help}");
    }
}

#[test]
fn every_kind_of_model_is_timed() {
    let bench = |name: &str, arguments: &[&str]| -> Value {
        let model = case(name);
        let model = model.to_str().unwrap();
        let common = ["bench", "--model", model, "-r", "1", "-o", "json"];
        let output = command(&[&common[..], arguments].concat())
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}: {}", text(&output.stderr));
        serde_json::from_str(&stdout(&output)).unwrap()
    };
    for name in ["llama", "mamba", "lfm2", "t5"] {
        let rows = bench(name, &["-p", "5", "-n", "3", "-d", "4"]);
        let counts = |index: usize| {
            let number = |key: &str| rows[index][key].as_u64();
            (number("n_prompt"), number("n_gen"), number("n_depth"))
        };
        assert_eq!(counts(0), (Some(5), Some(0), Some(4)), "{name}");
        assert_eq!(counts(1), (Some(0), Some(3), Some(4)), "{name}");
        assert!(rows[1]["avg_ts"].as_f64().unwrap() > 0.0);
    }
    for name in ["bert", "t5"] {
        let rows = bench(name, &["-b", "2", "-s", "6"]);
        assert_eq!(rows[0]["seq"], 6, "{name}");
        assert!(rows[0]["sentences_per_s"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn a_file_of_prompts_is_answered_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let jsonl = format!("{{\"prompt\": \"The capital of\"}}\n\n{{\"chat\": \"{QUESTION}\"}}\n");
    let generate = |file: &str| {
        let arguments = ["generate", "--model", "MODEL", "--prompts-file", file];
        command(&arguments).output().unwrap()
    };
    let output = stdout(&generate(&file("prompts.jsonl", &jsonl)));
    let lines: Vec<Value> = output
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["text"], " France is Paris.");
    assert_eq!(lines[0]["line"], 1);
    assert_eq!(lines[0]["finish_reason"], "eos");
    assert_eq!(lines[1]["text"], ANSWER.trim_end());
    assert_eq!(lines[1]["line"], 3);

    let plain = stdout(&generate(&file(
        "prompts.txt",
        "The capital of\nThe capital of\n",
    )));
    assert_eq!(plain.matches(" France is Paris.").count(), 2);

    let path = file(
        "wrong.jsonl",
        "{\"prompt\": \"a\"}\n{\"prompt\": \"a\", \"chat\": \"b\"}\n",
    );
    let arguments = ["generate", "--model", "MODEL", "--prompts-file", &path];
    check_error(
        &arguments,
        1,
        &["wrong.jsonl, line 2: give `prompt`, or `chat`"],
    );
}
