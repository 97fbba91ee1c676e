//! The result of a run as a table to read.

use super::engines::ours::OURS;
use super::limits::LIMIT;
use super::process::IDLE;
use super::report::Report;
use super::rounds::median;
use super::rows::Row;
use super::targets::{Target, Verdict};
use crate::Result;

/// What stands where nothing was measured.
const NOTHING: &str = "-";

/// Medians, with our ratio to each peer in brackets, and the targets.
pub fn render(report: &Report) -> Result<String> {
    let peers = report.peers();
    let head = ["", "unit", OURS, LIMIT, "share"];
    let head = head.iter().chain(&peers).chain(&["targets"]);
    let mut lines = vec![head.map(|cell| (*cell).to_owned()).collect()];
    let mut verdicts = Vec::new();
    for &row in report.rows {
        let of_row = report.verdicts(row)?;
        lines.push(line(report, &peers, row, &of_row));
        verdicts.extend(of_row);
    }
    let met = verdicts.iter().filter(|verdict| verdict.is_met()).count();
    Ok(format!(
        "{}\n{}\n{met} of {} targets met\n{}",
        preface(report),
        align(&lines),
        verdicts.len(),
        failures(report)
    ))
}

fn preface(report: &Report) -> String {
    let mut text = format!(
        "Rounds: {}; threads: {}. Medians; in brackets how many times as good ours is, the median over the rounds.\n",
        report.rounds, report.threads
    );
    if let Some(busy) = median(report.samples.busy_cores.clone()) {
        text += &format!("Others kept {busy:.1} cores busy (the median before each row).\n");
        if busy >= IDLE {
            text += "THE MACHINE WAS NOT IDLE: do not rely on these figures.\n";
        }
    }
    for (name, version) in &report.engines {
        text += &format!("{name}: {version}\n");
    }
    for skipped in report.skipped {
        text += &format!("skipped: {}: {}\n", skipped.name, skipped.why);
    }
    text
}

fn line(report: &Report, peers: &[&'static str], row: Row, verdicts: &[Verdict]) -> Vec<String> {
    let samples = report.samples;
    let median = |engine| samples.median(row, engine).map(number);
    let share = samples.ratio(row, OURS, LIMIT);
    let mut cells = vec![
        Some(row.to_string()),
        Some(row.unit().to_owned()),
        median(OURS),
        median(LIMIT),
        share.map(|share| format!("{share:.2}")),
    ];
    cells.extend(peers.iter().map(|&peer| {
        let value = median(peer)?;
        let ratio = samples.ratio(row, OURS, peer);
        Some(ratio.map_or_else(|| value.clone(), |ratio| format!("{value} ({ratio:.2})")))
    }));
    let verdicts: Vec<String> = verdicts.iter().map(describe).collect();
    cells.push(Some(verdicts.join("; ")));
    cells
        .into_iter()
        .map(|cell| cell.unwrap_or_else(|| NOTHING.to_owned()))
        .collect()
}

/// `met`, or by how much it was missed.
fn describe(verdict: &Verdict) -> String {
    let outcome = if verdict.is_met() { "met" } else { "MISSED" };
    match verdict.target {
        Target::AtLeast { times, other } => format!("{times:.2} {other} {outcome}"),
        Target::AtMost(most) => format!("at most {} {outcome}", number(most)),
    }
}

/// Three digits or all before the point.
fn number(value: f64) -> String {
    match value.abs() {
        0.0..1.0 => format!("{value:.3}"),
        1.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn failures(report: &Report) -> String {
    let failures = report.samples.failures.iter();
    failures
        .map(|((row, engine), why)| format!("failed: {row}: {engine}: {why}\n"))
        .collect()
}

/// Columns of equal width; all but the first, the unit and the last to the right.
fn align(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let lengths = lines.iter().map(|line| line[column].chars().count());
        lengths.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths).enumerate();
        let cells: Vec<String> = cells
            .map(|(column, (cell, &width))| {
                if column < 2 || column == columns - 1 {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            })
            .collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let cells = |line: [&str; 4]| line.map(str::to_owned).to_vec();
        let lines = [
            cells(["", "unit", "ours", "targets"]),
            cells(["decode 128 f32", "tokens/s", "60.2", "1.05 llama.cpp met"]),
        ];
        let expected = "                unit      ours  targets\ndecode 128 f32  tokens/s  60.2  1.05 llama.cpp met\n";
        assert_eq!(align(&lines), expected);
    }

    #[test]
    fn numbers_keep_three_digits() {
        let numbers = [0.1234, 1.234, 46.12, 429.4].map(number);
        assert_eq!(numbers, ["0.123", "1.23", "46.1", "429"]);
    }

    #[test]
    fn a_missed_target_is_loud() {
        let target = Target::AtLeast {
            times: 1.05,
            other: "llama.cpp",
        };
        let describe = |reached| describe(&Verdict { target, reached });
        assert_eq!(describe(1.1), "1.05 llama.cpp met");
        assert_eq!(describe(1.0), "1.05 llama.cpp MISSED");
    }
}
