//! What this node says: its table as entries, by version, with the chain elements that prove them.

use super::LinkId;
use super::anchor::AnchorRecord;
use super::chain::{self, Position};
use super::freshness::Freshness;
use super::metric::Cost;
use super::router::{Output, Router, Subject};
use crate::message::{Entry, EntryRoute, hint_of};

/// MTU class of a path of no hops: as large as any.
const WIDEST: u8 = 15;

impl Router {
    /// Everything that changed after version `since`, oldest change first. From 0: the table, without retractions.
    pub fn changes_since(&self, since: u32) -> Vec<(u32, Subject)> {
        let mut changes: Vec<_> = self
            .table
            .iter()
            .filter_map(|(index, originator)| {
                let is_news =
                    originator.version > since && (since > 0 || originator.advertised.is_some());
                is_news.then_some((originator.version, Subject::Other(index)))
            })
            .collect();
        if self.own.version > since {
            changes.push((self.own.version, Subject::Own));
        }
        changes.sort_unstable();
        changes
    }

    /// Whether anything changed after version `since`.
    pub const fn has_changes_since(&self, since: u32) -> bool {
        self.version > since
    }

    /// What is said about `subject` now.
    pub fn entry(&self, subject: Subject) -> Option<Entry> {
        match subject {
            Subject::Own => Some(Entry {
                originator: self.me.short_id(),
                freshness: self.own.freshness().to_wire(),
                route: Some(EntryRoute {
                    step: 0,
                    cost: Cost(0),
                    mtu_class: WIDEST,
                    next_hop_hint: 0,
                    element: self.own.element,
                }),
            }),
            Subject::Other(index) => {
                let originator = self.get(index)?;
                let generation = originator.anchor.generation;
                let freshness = |seq| Freshness { generation, seq }.to_wire();
                let id = originator.address.short_id();
                // Without a feasibility distance it was said of an earlier generation.
                let current = originator
                    .advertised
                    .filter(|_| originator.feasible.is_some());
                let proven = current.and_then(|said| {
                    let element = chain::advance(
                        &originator.address,
                        generation,
                        Position::from(originator.best),
                        originator.best_element,
                        Position::from(said.distance),
                    )
                    .ok()?;
                    Some((said, element))
                });
                Some(match proven {
                    None => Entry {
                        originator: id,
                        freshness: freshness(originator.best.seq),
                        route: None,
                    },
                    Some((said, element)) => Entry {
                        originator: id,
                        freshness: freshness(said.distance.seq),
                        route: Some(EntryRoute {
                            step: said.distance.step,
                            cost: said.cost,
                            mtu_class: said.mtu_class,
                            next_hop_hint: self
                                .links
                                .get(&said.next_hop)
                                .map_or(0, |link| hint_of(&link.peer) & 0xfff),
                            element,
                        }),
                    },
                })
            }
        }
    }

    /// The anchor of `subject`.
    pub fn anchor(&mut self, subject: Subject) -> Option<AnchorRecord> {
        match subject {
            Subject::Own => Some(self.own.checkpoint()),
            Subject::Other(index) => self.get(index).map(|o| o.anchor),
        }
    }

    /// The anchor of `subject` if the neighbours on this interface (its number as a bit) were not sent it yet.
    pub fn unsent_anchor(&mut self, subject: Subject, interface_bit: u16) -> Option<AnchorRecord> {
        let sent = match subject {
            Subject::Own => &mut self.own.anchor_sent,
            Subject::Other(index) => {
                let originator = self.get_mut(index)?;
                originator.advertised?;
                &mut originator.anchor_sent
            }
        };
        if *sent & interface_bit != 0 {
            return None;
        }
        *sent |= interface_bit;
        self.anchor(subject)
    }

    /// Sends a neighbour an anchor and the entry to it.
    pub(super) fn answer_anchor(&mut self, link: LinkId, subject: Subject) {
        if let Some(Output::Answer {
            link: last,
            subjects,
            with_anchors: true,
        }) = self.out.back_mut()
            && *last == link
        {
            subjects.push(subject);
            return;
        }
        self.out.push_back(Output::Answer {
            link,
            subjects: vec![subject],
            with_anchors: true,
        });
    }
}
