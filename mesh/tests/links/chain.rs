//! Hash chains as a relay meets them: it can make a route look worse, never better.

use proptest::prelude::*;
use warren_mesh::crypto::SecretKey;
use warren_mesh::identity::MeshIdentity;
use warren_mesh::routing::chain::{ChainError, Element, HashChain, Position, advance, verify};

fn positions() -> impl Strategy<Value = Position> {
    (1..=8u16, 0..128u8).prop_map(|(seq, step)| Position { seq, step })
}

proptest! {
    #[test]
    fn a_relay_can_only_make_a_metric_step_worse(heard in positions(), claimed in positions()) {
        let originator = MeshIdentity::from_seed(&[1; 32]).address();
        let mut chain = HashChain::with_length(&SecretKey::new([2; 32]), originator, 3, 8);
        let known = Position { seq: 1, step: 127 };
        let known = (known, chain.element(known).unwrap());
        let element = chain.element(heard).unwrap();
        let (from, to) = (heard.index().unwrap(), claimed.index().unwrap());
        match advance(&originator, 3, heard, element, claimed) {
            Ok(worse) => {
                prop_assert!(to <= from);
                prop_assert_eq!(worse, chain.element(claimed).unwrap());
                prop_assert_eq!(verify(&originator, 3, known, (claimed, worse)), Ok(()));
            }
            Err(error) => {
                prop_assert!(to > from);
                prop_assert_eq!(error, ChainError::Backward);
                // The best a liar has: what it heard, or anything that follows from it.
                for from in [heard, Position { step: 127, ..heard }] {
                    let have = advance(&originator, 3, heard, element, from).unwrap();
                    let result = verify(&originator, 3, known, (claimed, have));
                    prop_assert_eq!(result, Err(ChainError::Forged));
                }
            }
        }
    }

    #[test]
    fn a_made_up_element_is_forged(at in positions(), bytes in any::<[u8; 16]>()) {
        let originator = MeshIdentity::from_seed(&[1; 32]).address();
        let mut chain = HashChain::with_length(&SecretKey::new([2; 32]), originator, 3, 8);
        let known = Position { seq: 1, step: 127 };
        let known = (known, chain.element(known).unwrap());
        let result = verify(&originator, 3, known, (at, Element(bytes)));
        prop_assert_eq!(result, Err(ChainError::Forged));
    }
}
