//! Figures as benches print them: lines for people on stderr, and with `--json` one object a line on stdout and nothing
//! else there.

use serde_json::{Map, Value, json};

/// Which of two values is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Throughput, delivered share.
    Higher,
    /// Time, bytes, CPU.
    Lower,
}

/// One measured value, alone or beside another program's.
#[derive(Clone, Debug)]
pub struct Figure {
    name: String,
    ours: f64,
    unit: &'static str,
    peer: Option<(String, f64)>,
    better: Better,
}

impl Figure {
    /// A figure of its own.
    pub fn alone(name: impl Into<String>, ours: f64, unit: &'static str) -> Self {
        Self {
            name: name.into(),
            ours,
            unit,
            peer: None,
            better: Better::Lower,
        }
    }

    /// A figure beside a peer's of the same run.
    pub fn beside(
        name: impl Into<String>,
        ours: f64,
        unit: &'static str,
        better: Better,
        peer: impl Into<String>,
        theirs: f64,
    ) -> Self {
        Self {
            name: name.into(),
            ours,
            unit,
            peer: Some((peer.into(), theirs)),
            better,
        }
    }

    /// How many times better ours is.
    fn ratio(&self) -> Option<f64> {
        let (_, theirs) = self.peer.as_ref()?;
        let (top, bottom) = match self.better {
            Better::Higher => (self.ours, *theirs),
            Better::Lower => (*theirs, self.ours),
        };
        (bottom > 0.0).then(|| top / bottom)
    }

    fn json(&self) -> Value {
        let mut map = Map::new();
        map.insert("figure".into(), json!(self.name));
        map.insert("ours".into(), json!(rounded(self.ours)));
        map.insert("unit".into(), json!(self.unit));
        if let Some((peer, theirs)) = &self.peer {
            map.insert("peer".into(), json!(peer));
            map.insert("theirs".into(), json!(rounded(*theirs)));
            map.insert("ratio".into(), json!(self.ratio().map(rounded)));
        }
        Value::Object(map)
    }

    fn text(&self) -> String {
        let own = format!("{:<44} {:>10} {}", self.name, rounded(self.ours), self.unit);
        match (&self.peer, self.ratio()) {
            (Some((peer, theirs)), Some(ratio)) => {
                format!(
                    "{own}   ({peer}: {}, ours is {} x better)",
                    rounded(*theirs),
                    rounded(ratio)
                )
            }
            (Some((peer, theirs)), None) => format!("{own}   ({peer}: {})", rounded(*theirs)),
            (None, _) => own,
        }
    }
}

/// Four significant digits are more than any of these measurements carries.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    #[allow(clippy::cast_possible_truncation)]
    let digits = 3 - value.abs().log10().floor() as i32;
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

/// Where figures go.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Whether programs read along: objects on stdout.
    pub json: bool,
}

impl Report {
    /// Prints a figure.
    pub fn figure(self, figure: &Figure) {
        if self.json {
            println!("{}", figure.json());
        } else {
            println!("{}", figure.text());
        }
    }

    /// Says what is being done, for people.
    pub fn progress(self, text: &str) {
        eprintln!("# {text}");
    }
}

/// The middle value; of an even number the lower of the two in the middle. 0 of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
        .get(sorted.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::{Better, Figure, median, rounded};

    #[test]
    fn the_ratio_says_how_many_times_better_ours_is() {
        let faster = Figure::beside("a", 800.0, "Mbit/s", Better::Higher, "p", 200.0);
        let cheaper = Figure::beside("b", 2.0, "s", Better::Lower, "p", 20.0);
        assert_eq!(faster.json()["ratio"], 4.0);
        assert_eq!(cheaper.json()["ratio"], 10.0);
        assert!(Figure::alone("c", 1.0, "s").json().get("peer").is_none());
    }

    #[test]
    fn values_are_rounded_to_four_digits() {
        assert_eq!(rounded(8858.33), 8858.0);
        assert_eq!(rounded(0.071_239), 0.071_24);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
    }
}
