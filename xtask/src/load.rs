//! Loads a server of OpenAI's form with many clients at once, and says how it bears it.

mod client;
mod started;

use std::process::ExitCode;
use std::result::Result as StdResult;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use self::client::{Answer, Server};
use self::started::Started;
use crate::Result;

#[derive(clap::Args)]
#[command(after_help = "\
Each client sends its next request when its last one is answered. Works with any server of OpenAI's form:

  transformers serve ./model.gguf --served-model-name m --port 8000
  cargo xtask load http://127.0.0.1:8000 m --clients 1,8,32

With --start it starts the server itself, and says how long that took:

  cargo xtask load http://127.0.0.1:8000 m --start 'llama-server -m model.gguf -a m -np 32 --port 8000'")]
pub struct Arguments {
    /// The server's address
    url: String,
    /// The model, as the server knows it
    model: String,
    /// How many clients at once, one row for each number
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8, 32])]
    clients: Vec<usize>,
    /// How many requests in a row of the table, for each client
    #[arg(long, default_value_t = 4)]
    requests: usize,
    /// Tokens of an answer, at most
    #[arg(long, default_value_t = 64)]
    max_tokens: usize,
    /// Words of a prompt
    #[arg(long, default_value_t = 100)]
    prompt_words: usize,
    /// Words that all prompts begin with
    #[arg(long, default_value_t = 50)]
    shared_words: usize,
    /// The server's process, to say its memory (Linux)
    #[arg(long)]
    pid: Option<u32>,
    /// Start the server with this command first, and end it after
    #[arg(long, value_name = "COMMAND")]
    start: Option<String>,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let server = Server::new(&arguments.url)?;
    let few = body(arguments, usize::MAX, 4);
    let started = match &arguments.start {
        Some(command) => Some(Started::new(command, || server.ask(&few).map(drop))?),
        None => None,
    };
    // What is done once is done before.
    server.ask(&body(arguments, usize::MAX, arguments.max_tokens))?;
    let pid = arguments.pid.or(started.as_ref().map(Started::pid));
    println!(
        "{:>7} {:>10} {:>10} {:>19} {:>19} {:>8} {:>10}",
        "clients",
        "requests/s",
        "tokens/s",
        "first ms p50 / p99",
        "next ms p50 / p99",
        "failed",
        "memory MB"
    );
    let mut failed = 0;
    for clients in &arguments.clients {
        failed += row(arguments, &server, *clients, pid);
    }
    Ok(match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// One row of the table; gives how many requests failed.
fn row(arguments: &Arguments, server: &Server, clients: usize, pid: Option<u32>) -> usize {
    let count = clients * arguments.requests;
    let next = AtomicUsize::new(0);
    let begin = Instant::now();
    let results: Vec<StdResult<Answer, String>> = thread::scope(|scope| {
        let client = || {
            let mut results = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return results;
                }
                let answer = server.ask(&body(arguments, index, arguments.max_tokens));
                results.push(answer.map_err(|error| error.to_string()));
            }
        };
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_default())
            .collect()
    });
    let seconds = begin.elapsed().as_secs_f64();
    let (mut firsts, mut nexts, mut tokens) = (Vec::new(), Vec::new(), 0);
    let mut failed = 0;
    for result in &results {
        match result {
            Ok(answer) => {
                firsts.push(answer.first);
                nexts.extend(&answer.between);
                tokens += answer.tokens;
            }
            Err(error) => {
                failed += 1;
                eprintln!("{error}");
            }
        }
    }
    let both = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        format!("{:.1} / {:.1}", quantile(times, 0.5), quantile(times, 0.99))
    };
    let memory = pid
        .and_then(resident)
        .map_or("-".to_owned(), |bytes| format!("{}", bytes >> 20));
    println!(
        "{clients:>7} {:>10.2} {:>10.1} {:>19} {:>19} {failed:>8} {memory:>10}",
        (results.len() - failed) as f64 / seconds,
        tokens as f64 / seconds,
        both(&mut firsts),
        both(&mut nexts),
    );
    failed
}

/// A request whose prompt begins as all do, and goes on as no other does.
fn body(arguments: &Arguments, index: usize, max_tokens: usize) -> String {
    const WORDS: [&str; 16] = [
        "river", "stone", "letter", "garden", "winter", "music", "harbour", "bread", "window",
        "paper", "forest", "silver", "morning", "island", "thread", "candle",
    ];
    let word = |place: usize, salt: usize| {
        let mixed = place
            .wrapping_mul(0x9E37_79B9)
            .wrapping_add(salt.wrapping_mul(0x85EB_CA6B));
        WORDS[(mixed >> 7) % WORDS.len()]
    };
    let own = arguments
        .prompt_words
        .saturating_sub(arguments.shared_words);
    let shared = (0..arguments.shared_words).map(|place| word(place, 0));
    let own = (0..own).map(|place| word(place, index.wrapping_add(1)));
    let words: Vec<&str> = shared.chain(own).collect();
    let content = format!("Write a story with these words: {}.", words.join(" "));
    serde_json::json!({
        "model": arguments.model,
        "messages": [{"role": "user", "content": content}],
        "max_tokens": max_tokens,
        "temperature": 0,
        "stream": true,
    })
    .to_string()
}

/// In milliseconds, of sorted times.
fn quantile(times: &[Duration], part: f64) -> f64 {
    let at = (times.len() as f64 * part) as usize;
    let time = times.get(at.min(times.len().saturating_sub(1)));
    time.map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

/// Bytes that a process holds in memory.
pub fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_sorted_times() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(
            (quantile(&times, 0.5), quantile(&times, 0.99)),
            (51.0, 100.0)
        );
        assert_eq!(quantile(&[], 0.5), 0.0);
    }
}
