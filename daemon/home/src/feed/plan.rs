//! Whom to ask where (NIP-65): each person that somebody here follows at the homes where they write. Where nobody knows
//! that, all homes in reach are asked. Relays of the Internet that the owner of this home lists are asked for whoever is
//! at no home in reach; no other is.

use std::collections::{BTreeMap, BTreeSet};

use nostr::key::PublicKey;

use crate::dialer::ServiceName;

/// People whose home is not known that one home is asked for.
const SOUGHT: usize = 2000;

/// Somebody who is followed, and where they write as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// Who.
    pub author: PublicKey,
    /// Where.
    pub homes: Vec<ServiceName>,
}

/// Whom which home is asked for.
pub type Plan = BTreeMap<ServiceName, BTreeSet<PublicKey>>;

/// Makes the plan: homes where people write before the others in reach, and at most `links` of them. `own` is the relay of
/// this home, which is read whole anyway.
pub fn plan(
    followed: &[Followed],
    in_reach: &BTreeSet<ServiceName>,
    own: Option<&ServiceName>,
    links: usize,
) -> Plan {
    let mut plan = Plan::new();
    let foreign = |home: &&ServiceName| Some(*home) != own;
    for person in followed {
        for home in person.homes.iter().filter(foreign) {
            plan.entry(home.clone()).or_default().insert(person.author);
        }
    }
    // Homes in reach first: what does not answer must not take the places of what does.
    let mut order: Vec<(bool, std::cmp::Reverse<usize>, ServiceName)> = plan
        .iter()
        .map(|(home, authors)| {
            let is_away = !in_reach.contains(home);
            (is_away, std::cmp::Reverse(authors.len()), home.clone())
        })
        .collect();
    order.sort();
    let mut kept: Vec<ServiceName> = order.into_iter().map(|(_, _, home)| home).collect();
    let others = in_reach.iter().filter(foreign);
    kept.extend(others.filter(|home| !plan.contains_key(*home)).cloned());
    kept.truncate(links);
    let sought = followed.iter().filter(|person| person.homes.is_empty());
    let sought: Vec<PublicKey> = sought.take(SOUGHT).map(|person| person.author).collect();
    kept.into_iter()
        .map(|home| {
            let mut authors = plan.remove(&home).unwrap_or_default();
            authors.extend(&sought);
            (home, authors)
        })
        .collect()
}

/// Who is found at no home in reach.
pub fn elsewhere(followed: &[Followed], in_reach: &BTreeSet<ServiceName>) -> BTreeSet<PublicKey> {
    followed
        .iter()
        .filter(|person| !person.homes.iter().any(|home| in_reach.contains(home)))
        .map(|person| person.author)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(letter: char) -> ServiceName {
        ServiceName::parse(&letter.to_string().repeat(52)).unwrap()
    }

    fn somebody(number: u8, homes: &[char]) -> Followed {
        Followed {
            author: PublicKey::from_byte_array([number; 32]),
            homes: homes.iter().map(|letter| home(*letter)).collect(),
        }
    }

    #[test]
    fn people_are_asked_for_where_they_write_and_those_nobody_knows_everywhere() {
        let followed = [
            somebody(1, &['a']),
            somebody(2, &['b', 'c']),
            somebody(3, &[]),
        ];
        let in_reach = BTreeSet::from(['a', 'd', 'z'].map(home));
        let plan = plan(&followed, &in_reach, Some(&home('z')), 10);
        let at = |letter| {
            let asked = plan.get(&home(letter)).map(|authors| {
                let numbers = authors.iter().map(|author| author.as_bytes()[0]);
                numbers.collect::<Vec<u8>>()
            });
            asked.unwrap_or_default()
        };
        assert_eq!(at('a'), [1, 3]);
        assert_eq!(at('b'), [2, 3]);
        assert_eq!(at('c'), [2, 3]);
        assert_eq!(at('d'), [3]);
        assert_eq!(
            plan.get(&home('z')),
            None,
            "this home asks itself otherwise"
        );
    }

    #[test]
    fn relays_of_the_internet_are_asked_for_who_is_at_no_home_in_reach() {
        let followed = [
            somebody(1, &['a']),
            somebody(2, &['b', 'c']),
            somebody(3, &[]),
            somebody(4, &['b']),
        ];
        let asked = elsewhere(&followed, &BTreeSet::from(['a', 'c'].map(home)));
        let numbers: Vec<u8> = asked.iter().map(|author| author.as_bytes()[0]).collect();
        assert_eq!(numbers, [3, 4]);
    }

    #[test]
    fn homes_that_do_not_answer_make_room_for_those_in_reach() {
        let followed = [
            somebody(1, &['a']),
            somebody(2, &['b']),
            somebody(3, &['b']),
        ];
        let in_reach = BTreeSet::from(['a', 'd'].map(home));
        let kept = |links| {
            let plan = plan(&followed, &in_reach, None, links);
            plan.into_keys().collect::<Vec<_>>()
        };
        assert_eq!(kept(1), [home('a')]);
        assert_eq!(kept(2), [home('a'), home('b')]);
        assert_eq!(kept(9), [home('a'), home('b'), home('d')]);
    }
}
