//! What a noun says of a machine and what its asset says are the same: host name, asset id, addresses.
//!
//! Google's engine copies them from `principal`, `target` and `src` to their `asset` and back once a program is done
//! (contracts/cbn.md §1.7); not for observers, intermediaries and what a result is about. A name that both have stays
//! what it is on each side; addresses of both are joined, those of the noun first.

use bumpalo::collections::Vec as BumpVec;
use hashbrown::HashSet;

use super::tree::{ENTRY_BYTES, Node, Object};
use crate::run::Failure;
use crate::value::Heap;

/// The nouns that have assets kept in step.
const NOUNS: [&str; 3] = ["principal", "target", "src"];

/// Names of which there is one.
const SINGLE: [&str; 2] = ["hostname", "assetId"];

/// Addresses, of which there are many.
const MANY: [&str; 2] = ["ip", "mac"];

/// Up to so many addresses are compared one by one.
const COMPARED_MAX: usize = 16;

pub(super) fn mirror<'t, 'r: 't>(udm: &mut Object<'t>, heap: &'t Heap<'r>) -> Result<(), Failure> {
    for noun in NOUNS {
        let Some(Node::Object(noun)) = udm.get_mut(noun) else { continue };
        for key in SINGLE {
            match (text(noun, &[key]), text(noun, &["asset", key])) {
                (Some(name), None) => {
                    heap.charge(ENTRY_BYTES)?;
                    noun.object_mut("asset", heap, heap.bump())?.set(key, Node::Text(name));
                }
                (None, Some(name)) => {
                    heap.charge(ENTRY_BYTES)?;
                    noun.set(key, Node::Text(name));
                }
                _ => {}
            }
        }
        for key in MANY {
            let (own, of_asset) = (list(noun.get(key)), list(noun.at(&["asset", key])));
            let count = own.len() + of_asset.len();
            if count == 0 {
                continue;
            }
            heap.charge(3 * (count + 1) * ENTRY_BYTES)?;
            let mut joined: BumpVec<'t, &'t str> = BumpVec::with_capacity_in(count, heap.bump());
            let mut seen = HashSet::with_hasher(foldhash::fast::RandomState::default());
            for node in own.iter().chain(of_asset) {
                let Node::Text(address) = node else { continue };
                let new = if count <= COMPARED_MAX { !joined.contains(address) } else { seen.insert(*address) };
                if new {
                    joined.push(address);
                }
            }
            let asset = noun.object_mut("asset", heap, heap.bump())?;
            asset.set(key, Node::List(heap.bump().alloc_slice_fill_iter(joined.iter().copied().map(Node::Text))));
            noun.set(key, Node::List(heap.bump().alloc_slice_fill_iter(joined.into_iter().map(Node::Text))));
        }
    }
    Ok(())
}

fn text<'t>(object: &Object<'t>, path: &[&str]) -> Option<&'t str> {
    match object.at(path) {
        Some(Node::Text(text)) => Some(text),
        _ => None,
    }
}

fn list<'o, 't>(node: Option<&'o Node<'t>>) -> &'o [Node<'t>] {
    match node {
        Some(Node::List(list)) => list,
        _ => &[],
    }
}
