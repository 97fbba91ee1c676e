//! Holds the server under load and abuse for long, on a small real model, and checks that nothing is lost or leaked. The
//! short forms are tests of `server` and `cli`.

mod http;
mod mixed;

use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::http::Address;
use crate::Result;
use crate::clients::{Server, binary};
use crate::packages::SMOLLM2;

/// The name that the model is served under.
const NAME: &str = "smollm2";
/// How long the server may take to put an abuse behind it.
const PATIENCE: Duration = Duration::from_secs(90);

#[derive(clap::Args)]
pub struct Arguments {
    /// How long the mixed load runs
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    minutes: f64,
    /// How many clients vanish
    #[arg(long, value_name = "N", default_value_t = 1000)]
    clients: usize,
    /// This program instead of the release build
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let binary = binary(arguments.binary.as_deref())?;
    let model = SMOLLM2.fetch()?;
    let mut server = start(&binary, &model, "0")?;
    let address = Address::new(&server.url)?;
    step("clients that vanish", || {
        vanish(&address, arguments.clients)
    })?;
    step("slow readers", || slow_readers(&address))?;
    step("slow writers", || slow_writers(&address))?;
    step("kill and restart", || {
        restart(&mut server, &address, &binary, &model)
    })?;
    let pid = server.child.id();
    let time = Duration::from_secs_f64(arguments.minutes * 60.0);
    step("mixed load", || mixed::run(&address, pid, time))?;
    drop(server);
    step("models that change", || switch(&binary, &model))?;
    Ok(ExitCode::SUCCESS)
}

/// Runs a part and says what it saw; its error is ours.
fn step(name: &str, part: impl FnOnce() -> Result<String>) -> Result<()> {
    let begin = Instant::now();
    let said = part().map_err(|error| format!("{name}: {error}"))?;
    println!(
        "ok  {name:<20} {:>6.1} s  {said}",
        begin.elapsed().as_secs_f64()
    );
    Ok(())
}

fn start(binary: &Path, model: &Path, port: &str) -> Result<Server> {
    let mut serve = Command::new(binary);
    serve.arg("serve").arg(model);
    // What is kept of prompts is bounded, and soon full: from then on memory must be flat.
    serve.args(["--served-model-name", NAME, "--cb-max-memory", "128M"]);
    Server::start(serve.args(["--port", port]))
}

/// A request for a stream.
fn story(max_tokens: usize) -> Value {
    json!({
        "model": NAME,
        "messages": [{"role": "user", "content": "Write a long story about a lighthouse."}],
        "max_tokens": max_tokens,
        "stream": true,
    })
}

/// Asks what has one answer.
fn check_alive(address: &Address) -> Result<()> {
    let body = json!({
        "model": NAME,
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
        "max_tokens": 12,
        "temperature": 0,
    });
    let (status, answer) = address.post("/v1/chat/completions", &body)?;
    match status == 200 && answer.contains("Paris") {
        true => Ok(()),
        false => Err(format!("an ordinary request gets {status}: {answer}").into()),
    }
}

/// Waits until nothing runs for anybody, and no token is made.
fn check_quiet(address: &Address) -> Result<()> {
    let begin = Instant::now();
    loop {
        let before = address.metrics()?;
        thread::sleep(Duration::from_secs(1));
        let after = address.metrics()?;
        let generated = "transformers_generated_tokens_total";
        // The request that asks is one of them.
        let idle = after["transformers_requests_in_flight"] == 1.0
            && after["transformers_jobs_waiting"] == 0.0
            && before[generated] == after[generated];
        if idle {
            return Ok(());
        }
        if begin.elapsed() > PATIENCE {
            return Err(format!("it goes on working for nobody: {after:?}").into());
        }
    }
}

/// Clients that begin a stream, read a little, and are gone.
fn vanish(address: &Address, clients: usize) -> Result<String> {
    /// As many at once as the server lets wait.
    const WAVE: usize = 200;
    let mut refused = 0;
    for wave in 0..clients.div_ceil(WAVE) {
        let count = WAVE.min(clients - wave * WAVE);
        let streams = (0..count).map(|_| address.begin("/v1/chat/completions", &story(400)));
        let streams: Vec<TcpStream> = streams.collect::<Result<_>>()?;
        for (index, stream) in streams.iter().enumerate() {
            // Some go at once, some with the head, and some mid-stream.
            match index % 3 {
                0 => {}
                _ if http::read_status(stream)? != 200 => refused += 1,
                1 => {}
                _ => http::read_event(stream)?,
            }
        }
    }
    check_quiet(address)?;
    check_alive(address)?;
    Ok(format!("{clients} clients, {refused} refused"))
}

/// Clients that ask for much and read nothing.
fn slow_readers(address: &Address) -> Result<String> {
    const READERS: usize = 24;
    // As many as the server's memory for keys and values holds: others would wait for their end.
    let mut much = story(40);
    much["logprobs"] = json!(true);
    much["top_logprobs"] = json!(20);
    let streams = (0..READERS).map(|_| address.begin("/v1/chat/completions", &much));
    let streams: Vec<TcpStream> = streams.collect::<Result<_>>()?;
    let begin = Instant::now();
    check_alive(address)?;
    let meanwhile = begin.elapsed();
    drop(streams);
    check_quiet(address)?;
    Ok(format!(
        "{READERS} clients; another was answered in {:.1} s",
        meanwhile.as_secs_f64()
    ))
}

/// Clients that send a request byte by byte, and too slowly.
fn slow_writers(address: &Address) -> Result<String> {
    let head = address.head("/v1/chat/completions", 10_000);
    let mut streams = Vec::new();
    for index in 0..64 {
        let mut stream = address.connect()?;
        let sent = if index % 2 == 0 { &head } else { &head[..20] };
        stream.write_all(sent.as_bytes())?;
        streams.push(stream);
    }
    let begin = Instant::now();
    check_alive(address)?;
    let mut open = streams.len();
    while open > 0 {
        if begin.elapsed() > PATIENCE {
            return Err(format!("{open} of 64 are still let write").into());
        }
        thread::sleep(Duration::from_secs(1));
        streams.retain_mut(|stream| stream.write_all(b" ").is_ok() && !http::is_answered(stream));
        open = streams.len();
    }
    check_quiet(address)?;
    Ok(format!(
        "64 clients, let go within {:.0} s",
        begin.elapsed().as_secs_f64()
    ))
}

/// The server is killed while it streams, and started again where it was.
fn restart(server: &mut Server, address: &Address, binary: &Path, model: &Path) -> Result<String> {
    let streams = (0..16).map(|_| address.begin("/v1/chat/completions", &story(400)));
    let streams: Vec<TcpStream> = streams.collect::<Result<_>>()?;
    for stream in &streams {
        http::read_event(stream)?;
    }
    server.child.kill()?;
    server.child.wait()?;
    let ended = streams.iter().filter(|stream| http::ends(stream)).count();
    if ended < streams.len() {
        return Err(format!("{ended} of {} streams ended", streams.len()).into());
    }
    let begin = Instant::now();
    *server = start(binary, model, &address.port())?;
    let ready = begin.elapsed();
    check_alive(address)?;
    Ok(format!("ready again after {:.2} s", ready.as_secs_f64()))
}

/// Two models of which memory holds one, asked for in turns while both stream.
fn switch(binary: &Path, model: &Path) -> Result<String> {
    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
    let cache = tempfile::tempdir()?;
    for name in ["one", "two"] {
        let repo = cache.path().join(format!("models--soak--{name}"));
        let snapshot = repo.join("snapshots").join(COMMIT);
        std::fs::create_dir_all(&snapshot)?;
        std::fs::create_dir_all(repo.join("refs"))?;
        std::fs::write(repo.join("refs/main"), COMMIT)?;
        std::fs::copy(model, snapshot.join("model.gguf"))?;
    }
    let size = std::fs::metadata(model)?.len();
    let mut serve = Command::new(binary);
    serve.args([
        "serve",
        "--max-memory",
        &(size * 3 / 2).to_string(),
        "--cb-max-memory",
        "64M",
    ]);
    serve.arg("--cache-dir").arg(cache.path());
    let server = Server::start(&mut serve)?;
    let address = Address::new(&server.url)?;
    let (mut answered, mut refused) = ([0; 2], 0);
    let begin = Instant::now();
    thread::scope(|scope| -> Result<()> {
        let client = |index: usize| {
            let address = &address;
            move || {
                let mut statuses = Vec::new();
                for turn in 0..24_usize {
                    let which = (index + turn / 4) % 2;
                    let mut body = story(16);
                    body["model"] = json!(format!("soak/{}:model.gguf", ["one", "two"][which]));
                    body["stream"] = json!(turn % 3 > 0);
                    let answer = address.post("/v1/chat/completions", &body);
                    let answer = answer.map_err(|error| error.to_string());
                    statuses.push((which, answer));
                    if index == 0 && turn % 8 == 7 {
                        let reset = address.post("/reset", &json!({}));
                        statuses.push((which, reset.map_err(|error| error.to_string())));
                    }
                    thread::sleep(Duration::from_millis(20 * index as u64));
                }
                statuses
            }
        };
        let clients: Vec<_> = (0..6).map(|index| scope.spawn(client(index))).collect();
        for client in clients {
            for (which, answer) in client.join().map_err(|_| "a client panicked")? {
                match answer? {
                    (200, text) if !text.contains("\"error\"") => answered[which] += 1,
                    // There is no room while the other one is in use.
                    (503, _) => refused += 1,
                    (status, text) => return Err(format!("{status}: {text}").into()),
                }
            }
        }
        Ok(())
    })?;
    check_quiet(&address)?;
    match answered.contains(&0) {
        true => Err(format!("answers: {answered:?}, refusals: {refused}").into()),
        false => Ok(format!(
            "{} and {} answers, {refused} refused for want of memory, {:.0} s",
            answered[0],
            answered[1],
            begin.elapsed().as_secs_f64()
        )),
    }
}
