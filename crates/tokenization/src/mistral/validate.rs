//! What conversations have to be like.

use std::collections::HashSet;

use serde_json::Value;

use super::Version;
use super::request::{Chunk, Message, Role};
use crate::{Result, TokenizationError};

pub(super) fn refused(reason: impl Into<String>) -> TokenizationError {
    TokenizationError::InvalidConversation(reason.into())
}

pub(super) fn check(messages: &[Message], tools: &[Value], version: Version) -> Result<()> {
    let (Some(first), Some(last)) = (messages.first(), messages.last()) else {
        return Err(TokenizationError::EmptyConversation);
    };
    if messages.len() == 1 && !matches!(first.role, Role::User | Role::System) {
        return Err(refused(
            "a conversation begins with a user's or a system message",
        ));
    }
    if messages.len() > 1 && last.role == Role::Assistant && !last.prefix {
        return Err(refused(
            "a conversation ends with a user's message or a tool's; set `continue_final_message` to go on with the \
             assistant's",
        ));
    }
    for pair in messages.windows(2) {
        check_order(pair[0].role, pair[1].role)?;
    }
    for (index, message) in messages.iter().enumerate() {
        check_message(message, version)?;
        if message.prefix && index + 1 < messages.len() {
            return Err(refused("only the last message can be continued"));
        }
    }
    for tool in tools {
        check_name(tool["function"]["name"].as_str().unwrap_or_default())?;
    }
    if version >= Version::V11 {
        check_results_by_id(messages)
    } else {
        check_number_of_results(messages)
    }
}

fn check_order(before: Role, role: Role) -> Result<()> {
    let fits = match before {
        Role::System | Role::User => role != Role::Tool,
        Role::Assistant => role != Role::System,
        Role::Tool => role != Role::System,
    };
    if fits {
        return Ok(());
    }
    Err(refused(format!(
        "a message of the role {role:?} follows one of the role {before:?}"
    )))
}

fn check_message(message: &Message, version: Version) -> Result<()> {
    let thinks = message
        .chunks()
        .iter()
        .any(|chunk| matches!(chunk, Chunk::Thinking { .. }));
    match message.role {
        Role::System if message.content.is_none() => {
            return Err(refused("a system message has no content"));
        }
        Role::Assistant => {
            if version < Version::V7 && message.has_content() == message.has_calls() {
                return Err(refused(
                    "the assistant's message has to have either content or tool calls",
                ));
            }
            for call in message.calls.iter().flatten() {
                check_name(&call.name)?;
                check_id(&call.id, version)?;
            }
        }
        Role::Tool => {
            message.name.as_deref().map_or(Ok(()), check_name)?;
            match &message.tool_call_id {
                Some(id) => check_id(id, version)?,
                None if version >= Version::V3 => {
                    return Err(refused("a tool's message has no `tool_call_id`"));
                }
                None => {}
            }
        }
        Role::System | Role::User => {}
    }
    let may_think = match message.role {
        Role::Assistant => version >= Version::V11,
        Role::System => (Version::V7..Version::V15).contains(&version),
        Role::User | Role::Tool => false,
    };
    if thinks && !may_think {
        return Err(refused(format!(
            "a message of the role {:?} holds reasoning, which this model does not read",
            message.role
        )));
    }
    Ok(())
}

fn check_name(name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if (1..=64).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(refused(format!(
        "the function `{name}` is not named by 1 to 64 letters, digits, `_` and `-`"
    )))
}

fn check_id(id: &str, version: Version) -> Result<()> {
    let fits = match version {
        Version::V1 | Version::V2 => true,
        Version::V13 | Version::V15 => !id.is_empty() && id != "null",
        _ => id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()),
    };
    if fits {
        return Ok(());
    }
    Err(refused(format!(
        "the tool call id `{id}` is not one that this model knows: nine letters and digits"
    )))
}

fn check_number_of_results(messages: &[Message]) -> Result<()> {
    let mut expected = 0i64;
    for message in &messages[1..] {
        match message.role {
            Role::Tool => expected -= 1,
            Role::Assistant if expected != 0 => return Err(unequal()),
            Role::Assistant => {
                expected = message.calls.as_ref().map_or(0, |calls| calls.len() as i64)
            }
            Role::System | Role::User => {}
        }
    }
    Ok(())
}

fn check_results_by_id(messages: &[Message]) -> Result<()> {
    let mut expected = HashSet::new();
    let mut seen = HashSet::new();
    for message in &messages[1..] {
        match message.role {
            Role::Tool => {
                let id = message.tool_call_id.as_deref().unwrap_or_default();
                if !expected.contains(id) || !seen.insert(id) {
                    return Err(refused(format!(
                        "a tool's message answers the call `{id}`, which was not made or is answered already"
                    )));
                }
            }
            Role::Assistant => {
                if expected.len() != seen.len() {
                    return Err(unequal());
                }
                expected.clear();
                seen.clear();
                for call in message.calls.iter().flatten() {
                    if !expected.insert(call.id.as_str()) {
                        return Err(refused(format!("two tool calls have the id `{}`", call.id)));
                    }
                }
            }
            Role::System | Role::User => {}
        }
    }
    Ok(())
}

fn unequal() -> TokenizationError {
    refused("there are not as many results of tools as there were calls")
}
