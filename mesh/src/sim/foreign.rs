//! Maps from elsewhere: `{"nodes":[{"id":..}],"links":[{"source":..,"target":..,"source_tq":..,"target_tq":..}]}`, ids
//! strings or numbers, qualities 0 to 1 and optional (1). At most a thousand nodes.

use std::collections::HashMap;

use serde::Deserialize;

use super::topology::Topology;

/// Most nodes of a map.
pub const MAX_NODES: usize = 1000;
/// Longest file, bytes.
pub const MAX_BYTES: usize = 16 << 20;

#[derive(Deserialize, PartialEq, Eq, Hash)]
#[serde(untagged)]
enum Id {
    Number(i64),
    Text(String),
}

impl core::fmt::Display for Id {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Number(id) => write!(f, "{id}"),
            Self::Text(id) => write!(f, "\"{id}\""),
        }
    }
}

#[derive(Deserialize)]
struct Map {
    nodes: Vec<MapNode>,
    links: Vec<MapLink>,
}

#[derive(Deserialize)]
struct MapNode {
    id: Id,
}

#[derive(Deserialize)]
struct MapLink {
    source: Id,
    target: Id,
    #[serde(default = "perfect")]
    source_tq: f64,
    #[serde(default = "perfect")]
    target_tq: f64,
}

const fn perfect() -> f64 {
    1.0
}

/// Why a map cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// No such JSON.
    #[error("not a map: {0}")]
    Json(#[from] serde_json::Error),
    /// Too large.
    #[error("the map has {0} nodes: at most 1000 can be simulated")]
    TooManyNodes(usize),
    /// Too long.
    #[error("the file has {0} bytes: at most 16 MiB are read")]
    TooLong(usize),
    /// Nothing to simulate.
    #[error("the map has fewer than two nodes")]
    TooFew,
    /// Two nodes with one id.
    #[error("node {0} stands in the map twice")]
    Twice(String),
    /// A link to nowhere.
    #[error("a link names node {0}, which is not in \"nodes\"")]
    UnknownNode(String),
    /// A quality outside 0 to 1.
    #[error("a link between {0} and {1} has a quality outside 0 to 1")]
    Quality(String, String),
}

/// The topology of a map.
pub fn parse(text: &[u8]) -> Result<Topology, MapError> {
    if text.len() > MAX_BYTES {
        return Err(MapError::TooLong(text.len()));
    }
    let map: Map = serde_json::from_slice(text)?;
    if map.nodes.len() > MAX_NODES {
        return Err(MapError::TooManyNodes(map.nodes.len()));
    }
    if map.nodes.len() < 2 {
        return Err(MapError::TooFew);
    }
    let mut numbers = HashMap::new();
    for (number, node) in map.nodes.iter().enumerate() {
        if numbers.insert(&node.id, number).is_some() {
            return Err(MapError::Twice(node.id.to_string()));
        }
    }
    let mut topology = Topology::empty(map.nodes.len());
    for link in &map.links {
        let number = |id: &Id| {
            numbers
                .get(id)
                .copied()
                .ok_or_else(|| MapError::UnknownNode(id.to_string()))
        };
        let (source, target) = (number(&link.source)?, number(&link.target)?);
        let is_share = |share: f64| (0.0..=1.0).contains(&share);
        if !is_share(link.source_tq) || !is_share(link.target_tq) {
            return Err(MapError::Quality(
                link.source.to_string(),
                link.target.to_string(),
            ));
        }
        topology.link_with(source, target, link.source_tq, link.target_tq);
    }
    Ok(topology)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_may_be_strings_or_numbers_and_qualities_may_be_missing() {
        let map = br#"{"nodes":[{"id":"a"},{"id":7,"name":"x"}],"links":[{"source":"a","target":7,"source_tq":0.5}]}"#;
        let topology = parse(map).unwrap();
        assert_eq!(topology.quality(0, 1), Some(0.5));
        assert_eq!(topology.quality(1, 0), Some(1.0));
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let unknown = br#"{"nodes":[{"id":1},{"id":2}],"links":[{"source":1,"target":3}]}"#;
        assert_eq!(
            parse(unknown).unwrap_err().to_string(),
            "a link names node 3, which is not in \"nodes\""
        );
        assert!(matches!(parse(b"[]"), Err(MapError::Json(_))));
        let twice = br#"{"nodes":[{"id":1},{"id":1}],"links":[]}"#;
        assert!(matches!(parse(twice), Err(MapError::Twice(_))));
    }
}
