//! Tokens handed out while the generation goes on.

use std::error::Error;

use transformers_tokenization::{DecodeStream, Tokenizer};

/// Receives the tokens of one sequence as they come.
pub trait Streamer {
    /// A new token. An error ends the generation.
    ///
    /// # Errors
    /// Whatever the receiver cannot do with it.
    fn put(&mut self, token: u32) -> Result<(), Box<dyn Error + Send + Sync>>;

    /// No more tokens follow.
    ///
    /// # Errors
    /// Whatever the receiver cannot do.
    fn end(&mut self) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }
}

/// Any function of a token is a streamer.
impl<F: FnMut(u32)> Streamer for F {
    fn put(&mut self, token: u32) -> Result<(), Box<dyn Error + Send + Sync>> {
        self(token);
        Ok(())
    }
}

/// Turns tokens into text, never splitting a character, and calls a function with every piece.
pub struct TextStreamer<F> {
    stream: Option<DecodeStream>,
    write: F,
}

impl<F: FnMut(&str)> TextStreamer<F> {
    /// Special tokens are left out.
    pub fn new(tokenizer: &Tokenizer, write: F) -> Self {
        let stream = Some(tokenizer.decode_stream(true));
        Self { stream, write }
    }
}

impl<F: FnMut(&str)> Streamer for TextStreamer<F> {
    fn put(&mut self, token: u32) -> Result<(), Box<dyn Error + Send + Sync>> {
        let piece = self.stream.as_mut().map(|stream| stream.push(token));
        if let Some(text) = piece.transpose()?.flatten() {
            (self.write)(&text);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Box<dyn Error + Send + Sync>> {
        let rest = self.stream.take().map(DecodeStream::finish);
        if let Some(text) = rest.transpose()?.flatten() {
            (self.write)(&text);
        }
        Ok(())
    }
}
