//! What Ctrl-C does to work that can end in order.

use std::process;

use transformers_hub::CancelToken;

use crate::failure::Result;

/// What a shell expects of a program that Ctrl-C ended.
pub const INTERRUPTED: u8 = 130;

/// The first Ctrl-C, or SIGTERM, sets the token, which ends the work after its current step; the second one ends the process.
pub fn cancel_on_interrupt() -> Result<CancelToken> {
    let cancel = CancelToken::default();
    let token = cancel.clone();
    ctrlc::set_handler(move || {
        if token.is_cancelled() {
            process::exit(INTERRUPTED.into());
        }
        token.cancel();
    })?;
    Ok(cancel)
}
