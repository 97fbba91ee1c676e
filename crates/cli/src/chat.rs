//! `transformers chat`: a conversation in the terminal with any server of OpenAI's form.

mod client;
mod commands;
mod conversation;
mod examples;
mod flags;
mod input;
mod local_server;
mod markdown;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;

use clap::Args;

use self::client::{Client, Piece};
use self::commands::{Command, Effect};
use self::conversation::Conversation;
use self::examples::Examples;
use self::flags::Flags;
use self::input::{Input, Line};
use self::local_server::LocalServer;
use self::markdown::Renderer;
use crate::failure::{Failure, Result};
use crate::output::print;

/// Where `transformers serve` listens.
const DEFAULT_URL: &str = "http://localhost:8000";

/// Talk to a model that a server has: `transformers serve`, or any other of OpenAI's form
#[derive(Debug, Args)]
#[command(after_help = "\
`!help` lists what can be typed in the conversation. Ctrl-C stops an answer, Ctrl-D ends the conversation.

Without a terminal each line of stdin is a message, and stdout gets the answers alone.

Examples:
  transformers chat HuggingFaceTB/SmolLM2-135M-Instruct
  transformers chat HuggingFaceTB/SmolLM2-135M-Instruct --serve
  transformers chat Qwen/Qwen3-0.6B http://localhost:8080 max_new_tokens=200 temperature=0.7
  transformers chat gpt-5-mini https://api.openai.com/v1 --api-key \"$OPENAI_API_KEY\"
  echo 'Who wrote Emma?' | transformers chat HuggingFaceTB/SmolLM2-135M-Instruct")]
pub struct Arguments {
    /// The model, as the server knows it
    #[arg(value_name = "MODEL_ID")]
    model: String,

    /// The server's address [default: http://localhost:8000], then fields of the generation config as `name=value`
    #[arg(value_name = "BASE_URL|FLAG")]
    rest: Vec<String>,

    /// What you are called [default: the system's name for you]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,

    /// What frames the conversation
    #[arg(long, value_name = "TEXT")]
    system_prompt: Option<String>,

    /// The folder that `!save` writes to
    #[arg(long, value_name = "FOLDER", default_value = "./chat_history/")]
    save_folder: PathBuf,

    /// Go on with a conversation that was saved
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,

    /// A file of examples for `!example`: a YAML mapping of names to texts
    #[arg(long, value_name = "FILE")]
    examples_path: Option<PathBuf>,

    /// A file of generation settings, such as generation_config.json; flags go before
    #[arg(long, value_name = "FILE")]
    generation_config: Option<PathBuf>,

    /// The server's key
    #[arg(
        long,
        value_name = "KEY",
        env = "TRANSFORMERS_API_KEY",
        hide_env_values = true
    )]
    api_key: Option<String>,

    /// Start a server for this conversation
    #[arg(long)]
    serve: bool,

    /// A LoRA adapter that the server uses the model with: a folder, or a hub id
    #[arg(long, value_name = "[NAME=]ADAPTER", requires = "serve")]
    adapter: Option<String>,
}

impl Arguments {
    /// The model by the name that the server has it under: an adapter is a model of its own.
    fn served(&self) -> &str {
        let adapter = self.adapter.as_deref();
        let name = adapter.map(|adapter| adapter.split_once('=').map_or(adapter, |(name, _)| name));
        name.unwrap_or(&self.model)
    }
}

pub fn run(arguments: &Arguments) -> Result {
    // Connections are closed by a thread beside the one that waits for the next line.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(chat(arguments))
}

async fn chat(arguments: &Arguments) -> Result {
    let (url, given) = match arguments.rest.split_first() {
        Some((first, flags)) if !first.contains('=') || first.contains("://") => {
            (first.as_str(), flags)
        }
        _ => (DEFAULT_URL, arguments.rest.as_slice()),
    };
    let mut flags = Flags::default();
    if let Some(file) = &arguments.generation_config {
        flags.read(file)?;
    }
    flags.set_all(given).map_err(Failure::Usage)?;
    let examples = Examples::new(arguments.examples_path.as_deref())?;
    let mut conversation = match &arguments.resume {
        Some(file) => Conversation::load(file)?,
        None => Conversation::default(),
    };
    if let Some(text) = &arguments.system_prompt {
        conversation.set_system(text);
    }
    let client = Client::new(url, arguments.api_key.as_deref())?;
    let adapter = arguments.adapter.as_deref();
    let server = match arguments.serve {
        true => Some(LocalServer::start(&arguments.model, adapter, &client).await?),
        false => None,
    };
    client.check(arguments.served()).await?;
    client.load(arguments.served()).await?;
    let session = Session {
        arguments,
        client,
        flags,
        examples,
        conversation,
    };
    let done = session.run().await;
    drop(server);
    done
}

/// One conversation on its way.
struct Session<'a> {
    arguments: &'a Arguments,
    client: Client,
    flags: Flags,
    examples: Examples,
    conversation: Conversation,
}

impl Session<'_> {
    async fn run(mut self) -> Result {
        let mut input = Input::new(self.arguments.user.clone())?;
        if input.is_terminal() {
            self.greet()?;
        }
        loop {
            let line = match input.line(&self.arguments.model)? {
                Line::Text(line) => line,
                Line::Interrupted => continue,
                Line::End => return Ok(ExitCode::SUCCESS),
            };
            let text = line.trim();
            if text.is_empty() {
                continue;
            }
            let message = match Command::parse(text) {
                None => text.to_owned(),
                Some(command) => match self.obey(command)? {
                    Effect::Said => continue,
                    Effect::Message(text) => text,
                    Effect::End => return Ok(ExitCode::SUCCESS),
                },
            };
            if let Err(error) = self.answer(message).await {
                // In a pipe nobody could react.
                if !input.is_terminal() {
                    return Err(error);
                }
                error.report();
            }
        }
    }

    fn greet(&self) -> io::Result<()> {
        let (model, url) = (&self.arguments.model, self.client.root());
        print(format_args!(
            "{model} at {url}. !help says what you can type.\n"
        ))?;
        for message in self.conversation.shown() {
            print(format_args!("{message}\n"))?;
        }
        Ok(())
    }

    /// Sends the conversation with `message` at its end, and prints the answer as it comes. An answer that was stopped is
    /// kept as far as it came; one that failed, or did not begin, takes its question with it.
    async fn answer(&mut self, message: String) -> Result<()> {
        self.conversation.push("user", message);
        let answer = self.stream().await;
        match answer {
            Ok(Some(text)) => {
                self.conversation.push("assistant", text);
                Ok(())
            }
            Ok(None) => {
                self.conversation.pop();
                Ok(())
            }
            Err(failure) => {
                self.conversation.pop();
                Err(failure)
            }
        }
    }

    /// The answer; `None` where it was stopped before it began.
    async fn stream(&self) -> Result<Option<String>> {
        let mut stopped = pin!(tokio::signal::ctrl_c());
        let messages = self.conversation.messages();
        let model = self.arguments.served();
        let mut pieces = tokio::select! {
            pieces = self.client.stream(model, messages, &self.flags) => pieces?,
            _ = &mut stopped => {
                eprintln!("(stopped)");
                return Ok(None);
            }
        };
        let mut renderer = Renderer::new(styled());
        let mut content = String::new();
        loop {
            let piece = tokio::select! {
                piece = pieces.next() => piece?,
                _ = &mut stopped => {
                    print(renderer.finish())?;
                    print("\n")?;
                    eprintln!("(stopped)");
                    return Ok(Some(content));
                }
            };
            match piece {
                Some(Piece::Content(text)) => {
                    print(renderer.content(&text))?;
                    content += &text;
                }
                // In a pipe the answer is what counts.
                Some(Piece::Reasoning(text)) if io::stdout().is_terminal() => {
                    print(renderer.reasoning(&text))?;
                }
                Some(Piece::Reasoning(_)) => {}
                None => break,
            }
        }
        print(renderer.finish())?;
        print("\n")?;
        Ok(Some(content))
    }
}

/// Whether stdout shows colours.
fn styled() -> bool {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    wanted && io::stdout().is_terminal()
}
