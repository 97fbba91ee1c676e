//! What can be typed in a conversation beside messages.

use super::Session;
use crate::failure::Result;
use crate::output::print;

const HELP: &str = "\
!help              this
!status            the model, the settings and the conversation
!clear             begin anew
!example NAME      send an example; without NAME, say which there are
!set NAME=VALUE …  change settings of the generation
!save [NAME]       write the conversation to a file
!exit              end
Ctrl-C stops an answer, Ctrl-D ends the conversation. A line that ends with \\ goes on in the next one.
";

/// A command, with what was typed after its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command<'a> {
    Help,
    Status,
    Clear,
    Example(&'a str),
    Set(&'a str),
    Save(&'a str),
    Exit,
    Unknown(&'a str),
}

/// What follows of a command.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing more.
    Said,
    /// This is the next message.
    Message(String),
    /// The conversation ends.
    End,
}

impl<'a> Command<'a> {
    /// `None` for a message.
    pub fn parse(line: &'a str) -> Option<Self> {
        let line = line.strip_prefix('!')?;
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        Some(match name {
            "help" => Self::Help,
            "status" => Self::Status,
            "clear" => Self::Clear,
            "example" => Self::Example(rest),
            "set" => Self::Set(rest),
            "save" => Self::Save(rest),
            "exit" | "quit" => Self::Exit,
            _ => Self::Unknown(name),
        })
    }
}

impl Session<'_> {
    pub(super) fn obey(&mut self, command: Command<'_>) -> Result<Effect> {
        match command {
            Command::Help => print(HELP)?,
            Command::Status => self.status()?,
            Command::Clear => {
                self.conversation.clear();
                print("The conversation begins anew.\n")?;
            }
            Command::Example(name) => match self.examples.get(name) {
                Some(text) => {
                    print(format_args!("{text}\n"))?;
                    return Ok(Effect::Message(text.to_owned()));
                }
                None => print(format_args!("There are: {}.\n", self.examples.names()))?,
            },
            Command::Set(given) => {
                let given: Vec<String> = given.split_whitespace().map(str::to_owned).collect();
                match self.flags.set_all(&given) {
                    Ok(()) => self.settings()?,
                    Err(reason) => print(format_args!("{reason}.\n"))?,
                }
            }
            Command::Save(name) => {
                let name = Some(name).filter(|name| !name.is_empty());
                let folder = &self.arguments.save_folder;
                let saved =
                    self.conversation
                        .save(folder, name, &self.arguments.model, &self.flags);
                match saved {
                    Ok(file) => print(format_args!("Saved to {}.\n", file.display()))?,
                    Err(failure) => {
                        failure.report();
                    }
                }
            }
            Command::Exit => return Ok(Effect::End),
            Command::Unknown(name) => {
                print(format_args!(
                    "There is no command !{name}; !help lists them.\n"
                ))?;
            }
        }
        Ok(Effect::Said)
    }

    fn status(&self) -> Result<()> {
        print(format_args!(
            "model: {}\nserver: {}\n",
            self.arguments.model,
            self.client.root()
        ))?;
        self.settings()?;
        print(format_args!(
            "messages: {}\n",
            self.conversation.messages().len()
        ))?;
        for message in self.conversation.shown() {
            print(format_args!("  {message}\n"))?;
        }
        Ok(())
    }

    fn settings(&self) -> Result<()> {
        let lines: Vec<String> = self.flags.lines().collect();
        match lines.is_empty() {
            true => print("settings: the server's\n")?,
            false => print(format_args!("settings: {}\n", lines.join(" ")))?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_from_messages() {
        for (line, command) in [
            ("Hello!", None),
            ("!help", Some(Command::Help)),
            ("!set  top_k=1 x=2 ", Some(Command::Set("top_k=1 x=2"))),
            ("!save", Some(Command::Save(""))),
            ("!example birds", Some(Command::Example("birds"))),
            ("!!", Some(Command::Unknown("!"))),
        ] {
            assert_eq!(Command::parse(line), command, "{line}");
        }
    }
}
