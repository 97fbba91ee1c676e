//! Uploads: the model, its logs and its checkpoints, to a repository of the hub.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use transformers_hub::{HubOptions, UploadContent, UploadFile, UploadRepo};

use super::Trainer;
use crate::checkpoint::{self, ARGUMENTS, STATE};
use crate::reporting::ModelCard;
use crate::{HubStrategy, Result, SaveStrategy, TrainerError};

/// Logs change while they are uploaded: files up to so many bytes are read at once.
const SMALL: u64 = 16 << 20;

/// A repository, and what is on its way there.
pub(crate) struct Uploads {
    repo: Arc<UploadRepo>,
    running: Option<JoinHandle<()>>,
    /// Checkpoints that are read by it.
    folders: Vec<PathBuf>,
}

/// What becomes one commit.
struct Commit {
    message: String,
    files: Vec<UploadFile>,
}

impl Uploads {
    fn is_busy(&self) -> bool {
        self.running
            .as_ref()
            .is_some_and(|running| !running.is_finished())
    }

    /// Waits for what is on its way.
    fn wait(&mut self) {
        if let Some(running) = self.running.take() {
            // Its errors are logged.
            drop(running.join());
        }
        self.folders.clear();
    }

    /// Uploads after what is on its way, on a thread of its own.
    fn start(&mut self, folder: &Path, commits: Vec<Commit>) {
        if !self.is_busy() {
            self.wait();
        }
        self.folders.push(folder.to_owned());
        let (repo, before) = (self.repo.clone(), self.running.take());
        self.running = Some(std::thread::spawn(move || {
            if let Some(before) = before {
                drop(before.join());
            }
            for Commit { message, files } in commits {
                if let Err(error) = repo.commit(&message, files) {
                    log::warn!("{}: the upload of `{message}` failed: {error}", repo.id());
                }
            }
        }));
    }
}

impl Trainer {
    /// Makes the repository, unless it is there, so that what is wrong with it shows before the first step.
    pub(super) fn open_hub(&mut self) -> Result<()> {
        if self.uploads.is_some() {
            return Ok(());
        }
        let args = &self.args;
        let name = match &args.hub_model_id {
            Some(id) => id.clone(),
            None => {
                let folder = std::path::absolute(&args.output_dir)
                    .map_err(TrainerError::io("finding", &args.output_dir))?;
                let name = folder.file_name().and_then(|name| name.to_str());
                name.unwrap_or_default().to_owned()
            }
        };
        let token = args
            .hub_token
            .as_ref()
            .map(|token| token.secret().to_owned());
        let options = HubOptions {
            token: token.or_else(|| self.hub.token.clone()),
            ..self.hub.clone()
        };
        let (private, revision) = (args.hub_private_repo, args.hub_revision.as_deref());
        let repo = UploadRepo::create(&name, private, revision, &options)?;
        self.uploads = Some(Uploads {
            repo: Arc::new(repo),
            running: None,
            folders: Vec::new(),
        });
        Ok(())
    }

    /// Writes the model, its tokenizer and a model card into `output_dir`, uploads the folder without its checkpoints as one
    /// commit, and gives the address of the repository's page. What is on its way is waited for.
    ///
    /// Names that begin with `_` or `.` stay.
    ///
    /// # Errors
    /// A file cannot be written, there is no token or it may not write there, or the hub cannot be reached.
    pub fn push_to_hub(&mut self, commit_message: &str) -> Result<String> {
        self.call(|callback, event, control| callback.on_push_begin(event, control))?;
        self.open_hub()?;
        self.finish_uploads();
        let folder = self.args.output_dir.clone();
        self.write_model(&folder)?;
        checkpoint::write_json(&folder.join(ARGUMENTS), &self.args.to_json())?;
        let Some(uploads) = &self.uploads else {
            return Ok(String::new());
        };
        let repo = uploads.repo.clone();
        if !folder.join("README.md").exists() {
            let name = repo.id().rsplit('/').next().unwrap_or_default();
            let card = ModelCard {
                name: name.to_owned(),
                ..ModelCard::default()
            };
            card.of_training(&self.args, &self.state).write(&folder)?;
        }
        repo.commit(commit_message, output_files(&folder)?)?;
        Ok(repo.url().to_owned())
    }

    /// Begins to upload a checkpoint, as `hub_strategy` has it.
    pub(super) fn push_checkpoint(&mut self, folder: &Path) -> Result<()> {
        let busy = |uploads: &Uploads| uploads.is_busy() && !self.args.hub_always_push;
        let wanted = self.args.push_to_hub && self.args.hub_strategy != HubStrategy::End;
        if !wanted || self.uploads.as_ref().is_none_or(busy) {
            return Ok(());
        }
        self.call(|callback, event, control| callback.on_push_begin(event, control))?;
        let (args, state) = (&self.args, &self.state);
        let message = match args.save_strategy {
            SaveStrategy::Steps => format!("Training in progress, step {}", state.global_step),
            _ => {
                let epoch = state.epoch.unwrap_or_default();
                format!("Training in progress, epoch {}", epoch as u64)
            }
        };
        let model = UploadFile::of_folder(folder, |name| !STATE.contains(&name))?;
        // The model of this checkpoint, and not that of an earlier training.
        let mut files = output_files(&args.output_dir)?;
        files.retain(|file| model.iter().all(|model| model.name != file.name));
        files.extend(model);
        let name = folder.file_name().and_then(|name| name.to_str());
        let place = match args.hub_strategy {
            HubStrategy::Checkpoint => Some("last-checkpoint"),
            HubStrategy::AllCheckpoints => name,
            _ => None,
        };
        let mut commits = vec![Commit {
            message: message.clone(),
            files,
        }];
        if let Some(place) = place {
            let mut files = UploadFile::of_folder(folder, |_| true)?;
            files
                .iter_mut()
                .for_each(|file| file.name = format!("{place}/{}", file.name));
            commits.push(Commit {
                message: format!("{message}, checkpoint"),
                files,
            });
        }
        if let Some(uploads) = &mut self.uploads {
            uploads.start(folder, commits);
        }
        Ok(())
    }

    /// The checkpoints that are being uploaded.
    pub(super) fn uploading(&self) -> impl Iterator<Item = &Path> {
        let uploads = self.uploads.iter().filter(|uploads| uploads.is_busy());
        uploads.flat_map(|uploads| uploads.folders.iter().map(PathBuf::as_path))
    }

    /// Waits for the uploads that are on their way.
    pub(super) fn finish_uploads(&mut self) {
        if let Some(uploads) = &mut self.uploads {
            uploads.wait();
        }
    }
}

/// The files of `output_dir` without its checkpoints.
fn output_files(folder: &Path) -> Result<Vec<UploadFile>> {
    let takes = |name: &str| !name.starts_with(['_', '.']) && !checkpoint::is_one(name);
    let mut files = UploadFile::of_folder(folder, takes)?;
    for file in &mut files {
        let UploadContent::Path(path) = &file.content else {
            continue;
        };
        let failed = |error| TrainerError::io("reading", path)(error);
        if fs::metadata(path).map_err(failed)?.len() <= SMALL {
            file.content = UploadContent::Bytes(fs::read(path).map_err(failed)?);
        }
    }
    Ok(files)
}
