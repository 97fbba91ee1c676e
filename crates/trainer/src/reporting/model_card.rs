//! The README of a trained model.

use std::fmt::Write;

use serde_json::{Map, Value};
use transformers_hub::ModelSource;

/// What the README of a trained model says, in the form of the reference's: a head in YAML that the hub reads, then how it
/// was trained and what came of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModelCard {
    /// The model's name.
    pub name: String,
    /// The hub id or the folder that it was made of; `None`: trained from scratch.
    pub base_model: Option<String>,
    /// What it was trained on.
    pub dataset: Option<String>,
    /// Ids of the hub's datasets among that.
    pub datasets: Vec<String>,
    /// Of the result, for instance `apache-2.0`.
    pub license: Option<String>,
    /// What the hub is told besides `generated_from_trainer`.
    pub tags: Vec<String>,
    /// The hub's name of the task, for instance `text-classification`.
    pub pipeline_tag: Option<String>,
    /// How it was trained, by the names of the arguments.
    pub hyperparameters: Map<String, Value>,
    /// The evaluations, in order.
    pub results: Vec<ModelCardRow>,
}

/// One evaluation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModelCardRow {
    /// The loss of the training since the evaluation before, if it was logged.
    pub training_loss: Option<f64>,
    /// Passes over the data.
    pub epoch: f64,
    /// Steps of the optimizer.
    pub step: u64,
    /// What was measured, by name, without the prefix `eval_`.
    pub metrics: Vec<(String, f64)>,
}

impl ModelCard {
    /// The text of the file.
    pub fn to_markdown(&self) -> String {
        let mut text = self.head();
        let _ = write!(text, "\n# {}\n\n{}\n", self.name, self.sentence());
        let metrics = self.results.last().map_or(&[][..], |row| &row.metrics);
        if !metrics.is_empty() {
            text.push_str("\nIt achieves the following results on the evaluation set:\n\n");
            for (name, value) in metrics {
                let _ = writeln!(text, "- {}: {value:.4}", title(name));
            }
        }
        text.push_str("\n## Training procedure\n\n### Training hyperparameters\n\n");
        for (name, value) in &self.hyperparameters {
            let value = value.as_str().map_or(value.to_string(), str::to_owned);
            let _ = writeln!(text, "- {name}: {value}");
        }
        if !self.results.is_empty() {
            text.push_str("\n### Training results\n\n");
            text.push_str(&self.table());
        }
        let version = env!("CARGO_PKG_VERSION");
        let _ = write!(
            text,
            "\n### Framework versions\n\n- burn-transformers {version}\n"
        );
        text
    }

    fn head(&self) -> String {
        let quoted = |text: &str| Value::from(text).to_string();
        let mut head = "---\nlibrary_name: transformers\n".to_owned();
        // The hub takes no paths.
        let base = self.base_model.clone();
        let base = base.filter(|base| matches!(ModelSource::from(base), ModelSource::Hub { .. }));
        for (key, value) in [
            ("license", &self.license),
            ("base_model", &base),
            ("pipeline_tag", &self.pipeline_tag),
        ] {
            if let Some(value) = value {
                let _ = writeln!(head, "{key}: {}", quoted(value));
            }
        }
        if !self.datasets.is_empty() {
            head.push_str("datasets:\n");
        }
        for dataset in &self.datasets {
            let _ = writeln!(head, "- {}", quoted(dataset));
        }
        head.push_str("tags:\n- generated_from_trainer\n");
        for tag in &self.tags {
            let _ = writeln!(head, "- {}", quoted(tag));
        }
        head.push_str("---\n");
        head
    }

    fn sentence(&self) -> String {
        let made = match &self.base_model {
            Some(base) => format!("is a fine-tuned version of {base}"),
            None => "was trained from scratch".to_owned(),
        };
        let on = self.dataset.as_deref().unwrap_or("an unknown dataset");
        format!("This model {made} on {on}.")
    }

    fn table(&self) -> String {
        let metrics = self.results.last().map_or(&[][..], |row| &row.metrics);
        let mut names = vec![
            "Training Loss".to_owned(),
            "Epoch".to_owned(),
            "Step".to_owned(),
        ];
        names.extend(metrics.iter().map(|(name, _)| match name.as_str() {
            "loss" => "Validation Loss".to_owned(),
            name => title(name),
        }));
        let mut table = format!(
            "| {} |\n|{}\n",
            names.join(" | "),
            ":---:|".repeat(names.len())
        );
        for row in &self.results {
            let loss = row
                .training_loss
                .map_or("No log".to_owned(), |loss| format!("{loss:.4}"));
            let mut cells = vec![loss, format!("{:.4}", row.epoch), row.step.to_string()];
            for (name, _) in metrics {
                let value = row.metrics.iter().find(|(known, _)| known == name);
                cells.push(value.map_or(String::new(), |(_, value)| format!("{value:.4}")));
            }
            let _ = writeln!(table, "| {} |", cells.join(" | "));
        }
        table
    }
}

/// `exact_match` as `Exact Match`.
fn title(name: &str) -> String {
    let word = |word: &str| {
        let mut chars = word.chars();
        let first = chars.next().map(|first| first.to_uppercase().to_string());
        first.unwrap_or_default() + chars.as_str()
    };
    name.split('_').map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_says_what_was_done() {
        let row = |step, loss| ModelCardRow {
            training_loss: (step > 1).then_some(0.25),
            epoch: step as f64,
            step,
            metrics: vec![("loss".to_owned(), loss), ("accuracy".to_owned(), 0.975)],
        };
        let card = ModelCard {
            name: "spam".to_owned(),
            base_model: Some("google/bert: \"tiny\"".to_owned()),
            dataset: Some("mails.csv".to_owned()),
            datasets: vec!["org/mails".to_owned()],
            license: Some("mit".to_owned()),
            tags: vec!["burn".to_owned()],
            pipeline_tag: Some("text-classification".to_owned()),
            hyperparameters: Map::from_iter([
                ("learning_rate".to_owned(), 5e-5.into()),
                ("optim".to_owned(), "adamw_torch".into()),
            ]),
            results: vec![row(1, 0.5), row(2, 0.125)],
        };
        let text = card.to_markdown();
        let head = "---\nlibrary_name: transformers\nlicense: \"mit\"\nbase_model: \"google/bert: \\\"tiny\\\"\"\npipeline_tag: \
                    \"text-classification\"\ndatasets:\n- \"org/mails\"\ntags:\n- generated_from_trainer\n- \"burn\"\n---\n\n# spam\n";
        assert!(text.starts_with(head), "{text}");
        for part in [
            "- Loss: 0.1250\n- Accuracy: 0.9750\n",
            "- learning_rate: 0.00005\n- optim: adamw_torch\n",
            "| Training Loss | Epoch | Step | Validation Loss | Accuracy |\n|:---:|:---:|:---:|:---:|:---:|\n| No log | 1.0000 | 1 | 0.5000 | 0.9750 |\n",
            "| 0.2500 | 2.0000 | 2 | 0.1250 | 0.9750 |\n",
        ] {
            assert!(text.contains(part), "{part}\nin\n{text}");
        }
    }
}
