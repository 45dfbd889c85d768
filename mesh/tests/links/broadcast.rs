//! Broadcasts: one frame that several neighbours believe, and none can abuse.

use proptest::prelude::*;
use warren_mesh::crypto::aead::BadTag;
use warren_mesh::crypto::replay::ReplayError;
use warren_mesh::link::broadcast::MAX_TAGS;
use warren_mesh::link::{Established, LinkError, TagKey, group_id};

use super::common::*;

/// Node 1 with neighbours 2, 3 and 4: its ends and theirs.
fn star() -> (Party, Vec<(Established, Established)>) {
    let mut centre = Party::new(1);
    let links = (2..5)
        .map(|number| establish(&mut centre, &mut Party::new(number)))
        .collect();
    (centre, links)
}

fn send_keys(links: &[(Established, Established)]) -> impl Iterator<Item = &TagKey> {
    links
        .iter()
        .map(|(mine, _)| mine.session.broadcast_send_key())
}

fn hear<'a>(end: &mut Established, frame: &'a mut [u8]) -> Result<&'a [u8], LinkError> {
    end.peer_group
        .open(end.session.broadcast_receive_key(), frame)
}

#[test]
fn every_neighbour_hears_one_frame_of_ten_bytes_and_eight_for_each() {
    let (mut centre, mut links) = star();
    for text in [&b""[..], b"hello", &[9; 1200]] {
        let mut frame = Vec::new();
        centre
            .group
            .seal(send_keys(&links), text, &mut frame)
            .unwrap();
        assert_eq!(frame.len(), 10 + 8 * 3 + text.len());
        assert_eq!(group_id(&frame), Some(centre.group.id()));
        for (_, end) in &mut links {
            let mut copy = frame.clone();
            assert_eq!(hear(end, &mut copy).unwrap(), text);
            let again = hear(end, &mut frame.clone()).map(<[u8]>::to_vec);
            assert_eq!(again, Err(LinkError::Replay(ReplayError::Replayed)));
        }
    }
}

#[test]
fn a_neighbour_without_a_tag_does_not_believe() {
    let (mut centre, mut links) = star();
    let mut frame = Vec::new();
    centre
        .group
        .seal(send_keys(&links[..2]), b"hello", &mut frame)
        .unwrap();
    let result = hear(&mut links[2].1, &mut frame).map(<[u8]>::to_vec);
    assert_eq!(result, Err(LinkError::Tag(BadTag)));
}

#[test]
fn a_neighbour_cannot_speak_as_another_and_cannot_mute_it() {
    let (mut centre, mut links) = star();
    let (mut second, mut third) = (Party::new(2), Party::new(3));
    let between = establish(&mut second, &mut third);
    // Node 2 knows the centre's group key, its own tag key with the centre, and its tag keys with node 3.
    let mut as_the_centre = Party::new(1).group;
    let known = [
        links[0].0.session.broadcast_send_key().clone(),
        links[0].1.session.broadcast_send_key().clone(),
        between.0.session.broadcast_send_key().clone(),
        between.0.session.broadcast_receive_key().clone(),
    ];
    for _ in 0..5000 {
        let mut forged = Vec::new();
        as_the_centre
            .seal(&known, b"I am gone", &mut forged)
            .unwrap();
        assert_eq!(group_id(&forged), Some(centre.group.id()));
        let result = hear(&mut links[1].1, &mut forged).map(<[u8]>::to_vec);
        assert_eq!(result, Err(LinkError::Tag(BadTag)));
    }
    let mut genuine = Vec::new();
    centre
        .group
        .seal(send_keys(&links), b"I am here", &mut genuine)
        .unwrap();
    // Nor does a genuine tag carry another text or counter.
    for place in (1..10).chain(34..genuine.len()) {
        let mut altered = genuine.clone();
        altered[place] ^= 1;
        assert!(hear(&mut links[1].1, &mut altered).is_err());
    }
    assert_eq!(hear(&mut links[1].1, &mut genuine).unwrap(), b"I am here");
}

#[test]
fn a_newcomer_hears_nothing_from_before_its_handshake() {
    let (mut centre, links) = star();
    let mut early = Vec::new();
    centre
        .group
        .seal(send_keys(&links), b"early", &mut early)
        .unwrap();
    let (_, mut newcomer) = establish(&mut centre, &mut Party::new(9));
    let result = hear(&mut newcomer, &mut early).map(<[u8]>::to_vec);
    assert_eq!(result, Err(LinkError::Replay(ReplayError::TooOld)));
}

#[test]
fn what_was_heard_stays_heard_through_a_new_handshake_and_a_restart_begins_anew() {
    let (mut centre, mut links) = star();
    let (_, renewed) = establish(&mut centre, &mut Party::new(2));
    // Sent after the new handshake began, heard before it ended.
    let mut frame = Vec::new();
    centre
        .group
        .seal(send_keys(&links), b"hello", &mut frame)
        .unwrap();
    let end = &mut links[0].1;
    hear(end, &mut frame.clone()).unwrap();
    end.peer_group.renew(renewed.peer_group);
    let again = hear(end, &mut frame).map(<[u8]>::to_vec);
    assert_eq!(again, Err(LinkError::Replay(ReplayError::Replayed)));
    let mut restarted = Party::new(1);
    restarted.group = Party::new(77).group;
    let (mine, theirs) = establish(&mut restarted, &mut Party::new(2));
    end.peer_group.renew(theirs.peer_group);
    assert_eq!(end.peer_group.id(), restarted.group.id());
    end.session = theirs.session;
    let mut frame = Vec::new();
    let key = mine.session.broadcast_send_key();
    restarted.group.seal([key], b"back", &mut frame).unwrap();
    assert_eq!(hear(end, &mut frame).unwrap(), b"back");
}

#[test]
fn more_neighbours_than_a_frame_can_name_are_an_error() {
    let (mut centre, links) = star();
    let key = links[0].0.session.broadcast_send_key();
    let mut frame = Vec::new();
    let full = core::iter::repeat_n(key, MAX_TAGS);
    centre.group.seal(full, b"hello", &mut frame).unwrap();
    let result = centre.group.seal(
        core::iter::repeat_n(key, MAX_TAGS + 1),
        b"hello",
        &mut frame,
    );
    assert_eq!(result, Err(LinkError::TooManyNeighbours(256)));
}

proptest! {
    #[test]
    fn any_changed_byte_but_the_others_tags_is_refused_and_leaves_the_frame_to_be_heard(
        text in prop::collection::vec(any::<u8>(), 0..100),
        place in any::<prop::sample::Index>(), change in 1..=255u8, who in 0..3usize,
    ) {
        let (mut centre, mut links) = star();
        let mut frame = Vec::new();
        centre.group.seal(send_keys(&links), &text, &mut frame).unwrap();
        let mine = 10 + 8 * who..18 + 8 * who;
        let covered: Vec<usize> = (0..frame.len())
            .filter(|at| !(10..34).contains(at) || mine.contains(at))
            .collect();
        let mut damaged = frame.clone();
        damaged[covered[place.index(covered.len())]] ^= change;
        prop_assert!(hear(&mut links[who].1, &mut damaged).is_err());
        prop_assert_eq!(hear(&mut links[who].1, &mut frame).unwrap(), text);
    }
}
