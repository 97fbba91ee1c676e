//! The models that `benches/peers/make_models.py` wrote, and what a pass through them costs.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::rows::{Row, SENTENCE, Weights};
use super::shapes::Shape;
use crate::Result;

/// A folder of models, and a real one with its tokenizer.
pub struct Models {
    folder: PathBuf,
    real: Option<PathBuf>,
}

impl Models {
    pub fn open(folder: &Path, real: Option<&Path>) -> Result<Self> {
        // Workers and tools run elsewhere.
        let absolute = |path: &Path| {
            path.canonicalize().map_err(|error| {
                format!(
                    "no {}: {error}; benches/peers/make_models.py writes the models",
                    path.display()
                )
            })
        };
        Ok(Self {
            folder: absolute(folder)?,
            real: real.map(absolute).transpose()?,
        })
    }

    /// A folder for dense weights, a GGUF file for blocks.
    pub fn decoder(&self, weights: Weights) -> PathBuf {
        if weights.are_blocks() {
            self.gguf(weights)
        } else {
            self.folder.join(format!("smollm2-135m-{}", weights.name()))
        }
    }

    pub fn gguf(&self, weights: Weights) -> PathBuf {
        self.folder
            .join(format!("smollm2-135m-{}.gguf", weights.name()))
    }

    pub fn encoder(&self) -> PathBuf {
        self.folder.join("minilm-l6-f32")
    }

    /// A folder of benches/peers/make_shapes.py.
    pub fn shape(&self, shape: Shape) -> PathBuf {
        self.folder.join(shape.name())
    }

    pub fn onnx_encoder(&self) -> PathBuf {
        self.folder.join("minilm-l6.onnx")
    }

    /// A real chat model with its tokenizer.
    pub fn real(&self) -> Result<&Path> {
        let missing = "needs --model with a real model, since those for speed have no tokenizer";
        Ok(self.real.as_deref().ok_or(missing)?)
    }

    /// Bytes that decoding one token reads: all weights, because the tied head reads the embedding.
    pub fn weight_bytes(&self, weights: Weights) -> Result<f64> {
        let model = self.decoder(weights);
        let file = if model.is_dir() {
            model.join("model.safetensors")
        } else {
            model
        };
        let size = fs::metadata(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(size.len() as f64)
    }

    /// Floating point operations for one token of a prompt, or for one sentence: two per weight outside the embedding.
    pub fn operations(&self, row: Row) -> Result<f64> {
        match row {
            Row::Embed { .. } => {
                Ok(2.0 * layer_weights(&config(&self.encoder())?, 2)? * SENTENCE as f64)
            }
            _ => Ok(2.0 * layer_weights(&config(&self.decoder(Weights::F32))?, 3)?),
        }
    }
}

fn config(folder: &Path) -> Result<Value> {
    let file = folder.join("config.json");
    let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(serde_json::from_str(&text)?)
}

/// The weights of all layers' matrices, with `mlp` matrices between the hidden and the intermediate size.
fn layer_weights(config: &Value, mlp: u64) -> Result<f64> {
    let number = |key: &str| {
        let number = config[key].as_u64();
        number.ok_or_else(|| format!("config.json has no number `{key}`"))
    };
    let hidden = number("hidden_size")?;
    let heads = number("num_attention_heads")?;
    let kv_heads = number("num_key_value_heads").unwrap_or(heads);
    let attention = 2 * hidden * hidden + 2 * hidden * hidden / heads * kv_heads;
    let mlp = mlp * hidden * number("intermediate_size")?;
    Ok((number("num_hidden_layers")? * (attention + mlp)) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_weights_of_layers_are_counted_from_the_config() {
        let smollm2 = json!({
            "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
            "num_attention_heads": 9, "num_key_value_heads": 3,
        });
        // 134,515,008 parameters less the embedding (49152 x 576) and the norms (61 x 576)
        assert_eq!(layer_weights(&smollm2, 3).ok(), Some(106_168_320.0));
        let minilm = json!({
            "hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6, "num_attention_heads": 12,
        });
        assert_eq!(layer_weights(&minilm, 2).ok(), Some(10_616_832.0));
        assert!(layer_weights(&json!({}), 3).is_err());
    }
}
