//! Tokens handed out while the generation goes on.

use std::error::Error;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use transformers_tokenization::{DecodeStream, Tokenizer};

use crate::{CancelToken, TokenLogprob};

/// What becomes of a piece of text.
type Write = Box<dyn FnMut(&str) + Send>;

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// Receives the tokens of one sequence as they come.
pub trait Streamer {
    /// The tokens of the prompt, before the first new one.
    ///
    /// # Errors
    /// Whatever the receiver cannot do with it.
    fn prompt(&mut self, ids: &[u32]) -> Outcome {
        let _ = ids;
        Ok(())
    }

    /// A new token. An error ends the generation.
    ///
    /// # Errors
    /// Whatever the receiver cannot do with it.
    fn put(&mut self, token: u32) -> Outcome;

    /// The log-probability of the token that [`Self::put`] gets next; only where they were asked for.
    ///
    /// # Errors
    /// Whatever the receiver cannot do with it.
    fn put_logprob(&mut self, logprob: &TokenLogprob) -> Outcome {
        let _ = logprob;
        Ok(())
    }

    /// No more tokens follow.
    ///
    /// # Errors
    /// Whatever the receiver cannot do.
    fn end(&mut self) -> Outcome {
        Ok(())
    }
}

/// Any function of a token is a streamer.
impl<F: FnMut(u32)> Streamer for F {
    fn put(&mut self, token: u32) -> Outcome {
        self(token);
        Ok(())
    }
}

/// Turns tokens into text, never splitting a character, and calls a function with every piece.
pub struct TextStreamer<F> {
    stream: Option<DecodeStream>,
    skip_prompt: bool,
    write: F,
}

impl<F: FnMut(&str)> TextStreamer<F> {
    /// Special tokens are left out, and so is the prompt.
    pub fn new(tokenizer: &Tokenizer, write: F) -> Self {
        Self {
            stream: Some(tokenizer.decode_stream(true)),
            skip_prompt: true,
            write,
        }
    }

    /// Whether to leave out the prompt.
    #[must_use]
    pub fn skip_prompt(self, skip_prompt: bool) -> Self {
        Self {
            skip_prompt,
            ..self
        }
    }
}

impl<F: FnMut(&str)> Streamer for TextStreamer<F> {
    fn prompt(&mut self, ids: &[u32]) -> Outcome {
        match self.skip_prompt {
            true => Ok(()),
            false => ids.iter().try_for_each(|id| self.put(*id)),
        }
    }

    fn put(&mut self, token: u32) -> Outcome {
        let piece = self.stream.as_mut().map(|stream| stream.push(token));
        if let Some(text) = piece.transpose()?.flatten() {
            (self.write)(&text);
        }
        Ok(())
    }

    fn end(&mut self) -> Outcome {
        let rest = self.stream.take().map(DecodeStream::finish);
        if let Some(text) = rest.transpose()?.flatten() {
            (self.write)(&text);
        }
        Ok(())
    }
}

/// Hands the text to another thread, which iterates over it (`TextIteratorStreamer`). Where nobody listens any more, the
/// generation ends.
///
/// ```no_run
/// use transformers_config::GenerationConfig;
/// use transformers_generation::{Generate, GenerateOptions, TextIteratorStreamer};
/// use transformers_modeling::AutoModelForCausalLM;
/// use transformers_tokenization::AutoTokenizer;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = AutoModelForCausalLM::from_pretrained("HuggingFaceTB/SmolLM2-135M-Instruct")?;
/// let tokenizer = AutoTokenizer::from_pretrained("HuggingFaceTB/SmolLM2-135M-Instruct")?;
/// let prompt = tokenizer.encode("Once upon a time", true)?;
/// let (streamer, pieces) = TextIteratorStreamer::new(&tokenizer);
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         // It goes with this thread, and the iteration ends, whatever happens here.
///         let mut streamer = streamer;
///         let options = GenerateOptions {
///             cancel: Some(streamer.cancel_token()),
///             streamer: Some(&mut streamer),
///             ..GenerateOptions::default()
///         };
///         model.generate_with(prompt, &GenerationConfig::default(), options)
///     });
///     for piece in pieces {
///         print!("{piece}");
///     }
/// });
/// # Ok(())
/// # }
/// ```
pub struct TextIteratorStreamer {
    text: TextStreamer<Write>,
    cancel: CancelToken,
}

impl TextIteratorStreamer {
    /// The streamer, and the end that iterates.
    pub fn new(tokenizer: &Tokenizer) -> (Self, TextPieces) {
        let (sender, receiver) = mpsc::channel();
        let cancel = CancelToken::default();
        let mut sending = Some(sender);
        let token = cancel.clone();
        let write = move |piece: &str| {
            let sent = sending
                .as_ref()
                .map(|sender: &Sender<String>| sender.send(piece.to_owned()));
            if let Some(Err(_)) = sent {
                sending = None;
                token.cancel();
            }
        };
        let text = TextStreamer::new(tokenizer, Box::new(write) as Write);
        let pieces = TextPieces {
            receiver,
            timeout: None,
        };
        (Self { text, cancel }, pieces)
    }

    /// Whether to leave out the prompt.
    #[must_use]
    pub fn skip_prompt(self, skip_prompt: bool) -> Self {
        Self {
            text: self.text.skip_prompt(skip_prompt),
            ..self
        }
    }

    /// Is cancelled when nobody listens any more; give it to the generation.
    pub fn cancel_token(&self) -> CancelToken {
        self.cancel.clone()
    }
}

impl Streamer for TextIteratorStreamer {
    fn prompt(&mut self, ids: &[u32]) -> Outcome {
        self.text.prompt(ids)
    }

    fn put(&mut self, token: u32) -> Outcome {
        self.text.put(token)
    }

    fn end(&mut self) -> Outcome {
        self.text.end()?;
        // The sender goes, so that the other end knows.
        self.text.write = Box::new(|_| {});
        Ok(())
    }
}

/// The pieces of a text as they come; the end of [`TextIteratorStreamer`] that listens.
pub struct TextPieces {
    receiver: Receiver<String>,
    timeout: Option<Duration>,
}

impl TextPieces {
    /// Ends the iteration where no piece comes for so long.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self {
            timeout: Some(timeout),
            ..self
        }
    }

    /// The next piece; `Ok(None)` at the end of the text.
    ///
    /// # Errors
    /// No piece came within the timeout.
    pub fn next_piece(&self) -> Result<Option<String>, RecvTimeoutError> {
        let Some(timeout) = self.timeout else {
            return Ok(self.receiver.recv().ok());
        };
        match self.receiver.recv_timeout(timeout) {
            Ok(piece) => Ok(Some(piece)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Iterator for TextPieces {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        self.next_piece().ok().flatten()
    }
}
