//! The journal over a real directory.

use super::*;
use crate::disk::Directory;

fn append(journal: &Journal, first: u8, bytes: usize) -> Written {
    let payload = vec![first; bytes];
    journal
        .append(&[|out: &mut Vec<u8>| out.extend_from_slice(&payload)], &[])
        .unwrap()
        .events[0]
}

fn open(dir: &std::path::Path) -> Journal {
    Journal::open(Arc::new(Directory::open(dir).unwrap()), Position::START).unwrap()
}

#[test]
fn a_torn_tail_is_cut_and_writing_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let first = append(&journal, 1, 100);
    drop(journal);
    let path = dir.path().join("00000001.journal");
    let mut bytes = std::fs::read(&path).unwrap();
    let whole = bytes.len();
    bytes.extend_from_slice(&[7; 50]);
    std::fs::write(&path, &bytes).unwrap();
    let journal = open(dir.path());
    assert_eq!(std::fs::read(&path).unwrap().len(), whole);
    let second = append(&journal, 2, 100);
    assert_eq!(second.position.offset as usize, whole);
    assert_eq!(journal.read(first.position).unwrap(), vec![1; 100]);
    assert_eq!(journal.read(second.position).unwrap(), vec![2; 100]);
}

#[test]
fn by_way_of_a_window_the_same_is_read_in_any_order() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let sizes = [100, 400, 32, 5000, 300, 300, 20_000, 900, 64];
    let written: Vec<(u8, usize, Position)> = (0..450_u32)
        .map(|n| {
            let (first, size) = (n as u8, sizes[n as usize % sizes.len()]);
            (first, size, append(&journal, first, size).position)
        })
        .collect();
    assert!(written.last().unwrap().2.segment > 1);
    let mut window = Window::default();
    let mut same = |place: usize| {
        let (first, size, position) = written[place];
        let read = journal.read_near(position, &mut window).unwrap();
        assert_eq!(read, vec![first; size], "{place}");
    };
    (0..written.len()).for_each(&mut same);
    (0..written.len()).rev().for_each(&mut same);
    (0..2000).map(|n| n * 7919 % 450).for_each(same);
}

#[test]
fn segments_follow_each_other_and_are_read_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let written: Vec<Written> = (0..40).map(|n| append(&journal, n, 100_000)).collect();
    assert!(journal.segments().len() >= 3);
    drop(journal);
    let journal = open(dir.path());
    let mut seen = Vec::new();
    journal
        .replay::<io::Error>(Position::START, |place, kind, payload| {
            assert_eq!(kind, RecordKind::Event);
            seen.push((place, payload[0]));
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, written.iter().copied().zip(0..40).collect::<Vec<_>>());
    assert_eq!(
        journal.read(written[17].position).unwrap(),
        vec![17; 100_000]
    );
}

#[test]
fn a_rewritten_segment_has_only_what_was_kept() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    for n in 0..5 {
        append(&journal, n, 64);
    }
    let (generation, stayed) = journal.rewrite(1, |_, id| id.as_bytes()[0] != 3).unwrap();
    assert_eq!(generation, 1);
    assert_eq!(stayed.len(), 4);
    for (id, written) in &stayed {
        assert_eq!(
            journal.read(written.position).unwrap()[..32],
            *id.as_bytes()
        );
    }
    let after = append(&journal, 9, 64);
    assert_eq!(
        after.position.segment, 2,
        "a segment that was written anew is not written again"
    );
    assert_eq!(open(dir.path()).segments().len(), 2);
}
