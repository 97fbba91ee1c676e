//! Runs every case found under the given folders and prints the table; exits with 1 on any miss.
#![allow(clippy::print_stdout)]
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use serde_json::{Map, Value, json};
use transformers_modeling::DeviceSpec;
use transformers_tests::conformance::{CHECKS, Check, run};
use transformers_tests::{Case, CaseError, gguf, saved};

/// Compare models with the reference's outputs, case by case.
#[derive(Parser)]
struct Arguments {
    /// Folders with cases; a folder with a `ref.json` is a case itself.
    #[arg(required = true)]
    folders: Vec<PathBuf>,
    /// cpu, wgpu or cuda; other devices than the CPU run the first case of each family.
    #[arg(long, default_value = "cpu")]
    device: DeviceSpec,
    /// Only save each model, in a folder of its case's name in this one.
    #[arg(long, value_name = "FOLDER", conflicts_with = "json")]
    save: Option<PathBuf>,
    /// Write the result as JSON too.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    match compare(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(arguments: &Arguments) -> Result<ExitCode, Box<dyn Error>> {
    arguments.device.resolve()?;
    let mut cases = Vec::new();
    for folder in &arguments.folders {
        find_cases(folder, &mut cases)?;
    }
    if cases.is_empty() {
        return Err("no folder with a `ref.json` was found".into());
    }
    cases.sort();

    if let Some(folder) = &arguments.save {
        for dir in &cases {
            let case = Case::open(dir)?;
            saved::save(&case, arguments.device, &folder.join(&case.name))?;
        }
        println!("{} models saved", cases.len());
        return Ok(ExitCode::SUCCESS);
    }
    let width = cases.iter().map(|case| name(case).len()).max().unwrap_or(0);
    print!("{:<width$}", "case");
    CHECKS.iter().for_each(|check| print!("  {check:>12}"));
    println!();
    let (mut missed, mut passed, mut results) = (0usize, 0usize, Vec::new());
    let mut families = BTreeSet::new();
    for dir in &cases {
        let case = Case::open(dir);
        let family = case
            .as_ref()
            .map_or(String::new(), |case| case.reference.model_type.clone());
        if arguments.device != DeviceSpec::Cpu && !families.insert(family) {
            continue;
        }
        let result = case.and_then(|case| Ok((run(&case, arguments.device)?, case)));
        let all_passed = print_row(&name(dir), width, result.as_ref().map(|(checks, _)| checks));
        match all_passed {
            true => passed += 1,
            false => missed += 1,
        }
        if let Ok((checks, case)) = &result {
            results.push(to_json(case, checks));
        }
    }
    println!("{passed} passed, {missed} failed");
    if let Some(path) = &arguments.json {
        fs::write(path, serde_json::to_string_pretty(&results)?)?;
    }
    Ok(ExitCode::from(u8::from(missed > 0)))
}

fn name(dir: &Path) -> String {
    dir.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn find_cases(folder: &Path, cases: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    if folder.join("ref.json").exists() {
        cases.push(folder.to_owned());
        return Ok(());
    }
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            find_cases(&path, cases)?;
        }
    }
    Ok(())
}

fn print_row(name: &str, width: usize, checks: Result<&Vec<Check>, &CaseError>) -> bool {
    print!("{name:<width$}");
    let checks = match checks {
        Ok(checks) => checks,
        Err(error) => {
            println!("  FAILED: {error}");
            return false;
        }
    };
    for column in CHECKS {
        match checks.iter().find(|check| check.name == column) {
            Some(check) => print!("  {:>12}", check.outcome),
            None => print!("  {:>12}", "-"),
        }
    }
    let passed = checks.iter().all(|check| check.outcome.passed());
    println!("{}", if passed { "" } else { "  FAILED" });
    passed
}

fn to_json(case: &Case, checks: &[Check]) -> Value {
    let checks: Map<String, Value> = CHECKS
        .iter()
        .map(|column| {
            let check = checks.iter().find(|check| check.name == *column);
            let passed = check.map(|check| check.outcome.passed());
            ((*column).to_owned(), json!(passed))
        })
        .collect();
    json!({
        "case": case.name,
        "model_type": case.reference.model_type,
        "arch": case.reference.arch,
        "gguf": gguf::of_case(&case.name),
        "checks": checks,
    })
}
