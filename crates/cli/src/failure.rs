//! How a command ends when it does not succeed.

use std::error::Error;
use std::io;
use std::process::ExitCode;

/// What a command returns: the exit code, or why there is none.
pub type Result<T = ExitCode> = std::result::Result<T, Failure>;

/// Why a command stopped.
#[derive(Debug)]
pub enum Failure {
    /// The arguments are each fine but not together, or something outside of them is missing: exit code 2.
    Usage(String),
    /// Something went wrong: exit code 1.
    Error(Box<dyn Error + Send + Sync>),
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

impl Failure {
    /// Says it on stderr, in one line unless an error has a table to show.
    pub fn report(self) -> ExitCode {
        match self {
            // Whoever read our output has seen enough (`| head`).
            Self::Error(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
            Self::Error(error) => {
                eprintln!("error: {}", with_causes(&*error));
                ExitCode::FAILURE
            }
            Self::Usage(message) => {
                eprintln!("error: {message}");
                ExitCode::from(2)
            }
        }
    }
}

type Cause<'a> = &'a (dyn Error + 'static);

/// The error and its causes, outermost first.
fn chain<'a>(error: Cause<'a>) -> impl Iterator<Item = Cause<'a>> {
    std::iter::successors(Some(error), |error| (**error).source())
}

fn is_broken_pipe(error: Cause<'_>) -> bool {
    error
        .downcast_ref()
        .is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// The error and what it comes from; a cause that a message repeats already is not repeated again.
fn with_causes(error: Cause<'_>) -> String {
    chain(error)
        .map(ToString::to_string)
        .fold(String::new(), |text, cause| match text.as_str() {
            "" => cause,
            said if said.contains(&cause) => text,
            said => format!("{said}: {cause}"),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl std::fmt::Display for Layer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|layer| layer as _)
        }
    }

    #[test]
    fn causes_are_told_once() {
        let error = |texts: [&'static str; 3]| {
            let [a, b, c] = texts;
            Layer(a, Some(Box::new(Layer(b, Some(Box::new(Layer(c, None)))))))
        };
        assert_eq!(with_causes(&error(["a", "b", "c"])), "a: b: c");
        assert_eq!(
            with_causes(&error(["reading x failed: no", "no", "deeper"])),
            "reading x failed: no: deeper"
        );
    }
}
