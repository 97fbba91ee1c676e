//! One commit for everything that is loaded from a repository, in however many steps.

use transformers_hub::{ModelFiles, ModelSource};

/// The source of `files` with the commit that they are of as its revision.
///
/// A tokenizer and a model that are loaded from it belong together, even if the repository changes in between.
pub fn pinned(files: &ModelFiles) -> ModelSource {
    let commit = files.commit().map(str::to_owned);
    match files.source().clone() {
        ModelSource::Hub { repo, .. } => ModelSource::Hub {
            repo,
            revision: commit,
        },
        ModelSource::HubFile { repo, file, .. } => ModelSource::HubFile {
            repo,
            revision: commit,
            file,
        },
        local => local,
    }
}
