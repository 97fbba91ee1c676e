//! The crate `async-openai` against a running server.
//!
//! ```console
//! $ cargo run -- http://127.0.0.1:8000 MODEL
//! ```
//!
//! `MODEL` is a small chat model such as SmolLM2-135M-Instruct: what it says is hardly checked, but how. Requests are made of
//! JSON; what counts is that the crate reads every answer. Exits with 1 and says what failed, if anything did.

use std::error::Error;
use std::process::ExitCode;

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::error::OpenAIError;
use async_openai::types::chat::{ChatCompletionMessageToolCalls, FinishReason};
use async_openai::types::responses::{OutputItem, ResponseStreamEvent};
use futures::StreamExt as _;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

type Checked = Result<(), Box<dyn Error>>;

/// A server and its model.
struct Server {
    client: Client<OpenAIConfig>,
    model: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, model] = arguments.as_slice() else {
        eprintln!("give the server's address and the model");
        return ExitCode::from(2);
    };
    let config = OpenAIConfig::new()
        .with_api_base(format!("{url}/v1"))
        .with_api_key("none");
    let server = Server {
        client: Client::with_config(config),
        model: model.clone(),
    };
    let checks = [
        ("chat", server.chat().await),
        ("chat_stream", server.chat_stream().await),
        ("choices_and_logprobs", server.choices_and_logprobs().await),
        ("tools", server.tools().await),
        ("tools_stream", server.tools_stream().await),
        ("json_schema", server.json_schema().await),
        ("completions", server.completions().await),
        ("embeddings", server.embeddings().await),
        ("models", server.models().await),
        ("responses", server.responses().await),
        ("responses_stream", server.responses_stream().await),
        ("errors", server.errors().await),
        ("cancellation", server.cancellation().await),
    ];
    let mut failed = 0;
    for (name, checked) in &checks {
        match checked {
            Ok(()) => println!("ok      {name}"),
            Err(error) => {
                failed += 1;
                println!("FAILED  {name}: {error}");
            }
        }
    }
    println!("async-openai: {} of {}", checks.len() - failed, checks.len());
    match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn check(holds: bool, what: impl std::fmt::Debug) -> Checked {
    match holds {
        true => Ok(()),
        false => Err(format!("{what:?}").into()),
    }
}

fn question() -> Value {
    json!([{"role": "user", "content": "What is the capital of France?"}])
}

/// The schema of what tools and answers are held to.
fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
        "required": ["city"],
        "additionalProperties": false,
    })
}

fn tool() -> Value {
    let function = json!({"name": "get_weather", "description": "The weather.", "parameters": schema()});
    json!({"type": "function", "function": function})
}

fn check_city(arguments: &str) -> Checked {
    let arguments: Value = serde_json::from_str(arguments)?;
    check(arguments["city"] == "Paris" || arguments["city"] == "Rome", arguments)
}

impl Server {
    /// A request of the crate's type for this model.
    fn request<T: DeserializeOwned>(&self, mut fields: Value) -> serde_json::Result<T> {
        fields["model"] = json!(self.model);
        serde_json::from_value(fields)
    }

    async fn chat(&self) -> Checked {
        let asked = json!({"messages": question(), "temperature": 0, "max_completion_tokens": 30});
        let answer = self.client.chat().create(self.request(asked)?).await?;
        let content = answer.choices[0].message.content.as_deref();
        check(content.unwrap_or_default().contains("Paris"), &answer)?;
        let usage = answer.usage.ok_or("no usage")?;
        check(usage.total_tokens == usage.prompt_tokens + usage.completion_tokens, usage)
    }

    async fn chat_stream(&self) -> Checked {
        let asked = json!({
            "messages": question(), "temperature": 0, "max_completion_tokens": 30, "stream": true,
            "stream_options": {"include_usage": true},
        });
        let mut stream = self.client.chat().create_stream(self.request(asked)?).await?;
        let (mut text, mut usage) = (String::new(), None);
        while let Some(chunk) = stream.next().await {
            let chunk = chunk?;
            for choice in &chunk.choices {
                text += choice.delta.content.as_deref().unwrap_or_default();
            }
            usage = chunk.usage;
        }
        check(text.contains("Paris"), text)?;
        check(usage.is_some_and(|usage| usage.completion_tokens > 0), "usage")
    }

    async fn choices_and_logprobs(&self) -> Checked {
        let asked = json!({
            "messages": question(), "n": 2, "seed": 1, "temperature": 1, "logprobs": true, "top_logprobs": 2,
            "max_completion_tokens": 5,
        });
        let answer = self.client.chat().create(self.request(asked)?).await?;
        check(answer.choices.len() == 2, &answer)?;
        let logprobs = answer.choices[1].logprobs.as_ref().ok_or("no logprobs")?;
        let tokens = logprobs.content.as_deref().unwrap_or_default();
        check(tokens.iter().all(|token| token.top_logprobs.len() == 2), tokens)?;
        check((1..=5).contains(&tokens.len()), tokens)
    }

    async fn tools(&self) -> Checked {
        let asked = json!({
            "messages": question(), "tools": [tool()], "tool_choice": "required", "max_completion_tokens": 200,
        });
        let answer = self.client.chat().create(self.request(asked)?).await?;
        let choice = &answer.choices[0];
        check(choice.finish_reason == Some(FinishReason::ToolCalls), choice)?;
        let calls = choice.message.tool_calls.as_deref().unwrap_or_default();
        let Some(ChatCompletionMessageToolCalls::Function(call)) = calls.first() else {
            return Err(format!("no call: {choice:?}").into());
        };
        check(call.function.name == "get_weather", call)?;
        check_city(&call.function.arguments)?;
        let mut messages = question();
        let conversation = messages.as_array_mut().ok_or("a list")?;
        conversation.push(json!({"role": "assistant", "tool_calls": calls}));
        conversation.push(json!({"role": "tool", "tool_call_id": call.id, "content": "Sunny."}));
        let asked = json!({"messages": messages, "tools": [tool()], "max_completion_tokens": 10});
        self.client.chat().create(self.request(asked)?).await?;
        Ok(())
    }

    async fn tools_stream(&self) -> Checked {
        let asked = json!({
            "messages": question(), "tools": [tool()], "stream": true, "max_completion_tokens": 200,
            "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
        });
        let mut stream = self.client.chat().create_stream(self.request(asked)?).await?;
        let mut arguments = String::new();
        while let Some(chunk) = stream.next().await {
            for choice in chunk?.choices {
                let calls = choice.delta.tool_calls.into_iter().flatten();
                let functions = calls.filter_map(|call| call.function);
                arguments.extend(functions.filter_map(|function| function.arguments));
            }
        }
        check_city(&arguments)
    }

    async fn json_schema(&self) -> Checked {
        let format = json!({"name": "city", "schema": schema(), "strict": true});
        let asked = json!({
            "messages": question(), "max_completion_tokens": 100,
            "response_format": {"type": "json_schema", "json_schema": format},
        });
        let answer = self.client.chat().create(self.request(asked)?).await?;
        check_city(answer.choices[0].message.content.as_deref().unwrap_or_default())
    }

    async fn completions(&self) -> Checked {
        let asked = json!({
            "prompt": ["The capital of France is", "1 2 3"], "max_tokens": 5, "temperature": 0, "logprobs": 1,
        });
        let answer = self.client.completions().create(self.request(asked)?).await?;
        check(answer.choices.len() == 2 && answer.choices[0].text.contains("Paris"), &answer)?;
        let asked = json!({"prompt": "1 2 3", "max_tokens": 5, "stream": true});
        let stream = self.client.completions().create_stream(self.request(asked)?).await?;
        let chunks: Vec<_> = stream.collect().await;
        let chunks = chunks.into_iter().collect::<Result<Vec<_>, _>>()?;
        check(chunks.len() > 2, chunks)
    }

    async fn embeddings(&self) -> Checked {
        let asked = json!({"input": ["a cat", "a kitten", "the stock market"]});
        let answer = self.client.embeddings().create(self.request(asked)?).await?;
        let vectors: Vec<_> = answer.data.iter().map(|item| &item.embedding).collect();
        let dot = |a: usize, b: usize| -> f32 {
            let pairs = vectors[a].iter().zip(vectors[b]);
            pairs.map(|(x, y)| x * y).sum()
        };
        check((dot(0, 0) - 1.0).abs() < 1e-3 && dot(0, 1) > dot(0, 2), &answer.usage)?;
        let asked = json!({"input": "a cat", "encoding_format": "base64"});
        let answer = self.client.embeddings().create_base64(self.request(asked)?).await?;
        check(answer.data.len() == 1, &answer.usage)
    }

    async fn models(&self) -> Checked {
        let list = self.client.models().list().await?;
        check(list.data.iter().any(|model| model.id == self.model), &list)?;
        let model = self.client.models().retrieve(&self.model).await?;
        check(model.object == "model", model)
    }

    async fn responses(&self) -> Checked {
        let asked = json!({
            "input": "What is the capital of France?", "temperature": 0, "max_output_tokens": 30,
        });
        let answer = self.client.responses().create(self.request(asked)?).await?;
        check(answer.output_text().is_some_and(|text| text.contains("Paris")), &answer)?;
        let function = json!({"type": "function", "name": "get_weather", "parameters": schema()});
        let asked = json!({
            "input": "Weather?", "tools": [function], "tool_choice": "required", "max_output_tokens": 200,
        });
        let answer = self.client.responses().create(self.request(asked)?).await?;
        match answer.output.first() {
            Some(OutputItem::FunctionCall(call)) => check_city(&call.arguments),
            other => Err(format!("no call: {other:?}").into()),
        }
    }

    async fn responses_stream(&self) -> Checked {
        let asked = json!({
            "input": "What is the capital of France?", "temperature": 0, "max_output_tokens": 30, "stream": true,
        });
        let mut stream = self.client.responses().create_stream(self.request(asked)?).await?;
        let (mut text, mut names) = (String::new(), Vec::new());
        while let Some(event) = stream.next().await {
            let event = event?;
            match &event {
                ResponseStreamEvent::ResponseCreated(_) => names.push("created"),
                ResponseStreamEvent::ResponseOutputTextDelta(event) => text += &event.delta,
                ResponseStreamEvent::ResponseCompleted(_) => names.push("completed"),
                ResponseStreamEvent::ResponseIncomplete(_) => names.push("incomplete"),
                _ => {}
            }
        }
        check(text.contains("Paris"), &text)?;
        check(names == ["created", "completed"], names)
    }

    async fn errors(&self) -> Checked {
        let asked = json!({"messages": question(), "temperature": -1});
        match self.client.chat().create(self.request(asked)?).await {
            Err(OpenAIError::ApiError(refusal)) => {
                check(refusal.status_code.as_u16() == 422, &refusal)?;
                check(refusal.api_error.message.contains("temperature"), &refusal)?;
            }
            other => return Err(format!("it is not refused: {other:?}").into()),
        }
        let mut asked: async_openai::types::chat::CreateChatCompletionRequest =
            self.request(json!({"messages": question()}))?;
        asked.model = "no/such-model".to_owned();
        match self.client.chat().create(asked).await {
            Err(OpenAIError::ApiError(refusal)) => {
                let code = refusal.api_error.code.as_deref();
                check(code == Some("model_not_found"), &refusal)
            }
            other => Err(format!("an unknown model is not refused: {other:?}").into()),
        }
    }

    async fn cancellation(&self) -> Checked {
        let asked = json!({"messages": question(), "max_completion_tokens": 1000, "stream": true});
        let mut stream = self.client.chat().create_stream(self.request(asked)?).await?;
        check(stream.next().await.is_some(), "a chunk")?;
        drop(stream);
        self.chat().await
    }
}
