//! Which blocks of keys and values are whose.
//!
//! A full block is known by its tokens and by the block before it, so that the blocks of a prefix form a chain and a
//! sequence with the same beginning finds them (the reference's block hash). Keys are compared whole: two prefixes that
//! hash alike are never taken for each other. A known block that nobody holds any more stays known until its place is
//! needed; the one that was left longest goes first.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The link that a chain begins with.
pub(super) const ROOT: u64 = 0;

/// What a full block holds: the link before it and its tokens.
type Key = (u64, Box<[u32]>);

#[derive(Debug, Default)]
struct Block {
    holders: usize,
    /// If its content is known.
    key: Option<Key>,
    /// The link that blocks after it name.
    link: u64,
    /// When it was left, while nobody holds it and it is known.
    left: u64,
}

/// All blocks of an engine.
#[derive(Debug)]
pub(super) struct BlockPool {
    blocks: Vec<Block>,
    /// Neither held nor known.
    empty: Vec<u32>,
    /// Known and not held, by when they were left.
    idle: BTreeMap<u64, u32>,
    known: HashMap<Key, u32>,
    /// Known since the last step began: what they hold is still to be computed.
    fresh: BTreeSet<u32>,
    /// The last number given to a link or a time of leaving.
    clock: u64,
}

impl BlockPool {
    pub fn new(count: usize) -> Self {
        Self {
            blocks: (0..count).map(|_| Block::default()).collect(),
            empty: (0..count as u32).rev().collect(),
            idle: BTreeMap::new(),
            known: HashMap::new(),
            fresh: BTreeSet::new(),
            clock: ROOT,
        }
    }

    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Blocks that can be given out.
    pub fn available(&self) -> usize {
        self.empty.len() + self.idle.len()
    }

    /// The blocks of the longest known prefix of `tokens` with their links; whole blocks of `size` tokens.
    pub fn find(&self, tokens: &[u32], size: usize) -> Vec<(u32, u64)> {
        let (mut found, mut link) = (Vec::new(), ROOT);
        for tokens in tokens.chunks_exact(size) {
            let Some(&block) = self.known.get(&(link, Box::from(tokens))) else {
                break;
            };
            link = self.blocks[block as usize].link;
            found.push((block, link));
        }
        found
    }

    /// Whether nobody holds it.
    pub fn is_idle(&self, block: u32) -> bool {
        self.blocks[block as usize].holders == 0
    }

    /// Holds a block that [`find`](Self::find) gave, or that somebody else holds.
    pub fn hold(&mut self, block: u32) {
        let entry = &mut self.blocks[block as usize];
        if entry.holders == 0 {
            self.idle.remove(&entry.left);
        }
        entry.holders += 1;
    }

    /// Holds a block whose content is nobody's. `None`: there is none.
    pub fn take(&mut self) -> Option<u32> {
        let block = match self.empty.pop() {
            Some(block) => block,
            None => {
                let (_, block) = self.idle.pop_first()?;
                let key = self.blocks[block as usize].key.take();
                key.map(|key| self.known.remove(&key));
                block
            }
        };
        self.blocks[block as usize].holders = 1;
        Some(block)
    }

    /// Lets go of a block.
    pub fn release(&mut self, block: u32) {
        let entry = &mut self.blocks[block as usize];
        entry.holders -= 1;
        if entry.holders > 0 {
            return;
        }
        match entry.key {
            Some(_) => {
                self.clock += 1;
                entry.left = self.clock;
                self.idle.insert(self.clock, block);
            }
            None => self.empty.push(block),
        }
    }

    /// Whether somebody else reads it, or may come to.
    pub fn is_shared(&self, block: u32) -> bool {
        let block = &self.blocks[block as usize];
        block.holders > 1 || block.key.is_some()
    }

    /// Makes a held block known as `tokens` after `link`, and gives the link of these; where another block is known so,
    /// it stays the known one.
    pub fn publish(&mut self, block: u32, link: u64, tokens: &[u32]) -> u64 {
        let key = (link, Box::from(tokens));
        if let Some(&known) = self.known.get(&key) {
            return self.blocks[known as usize].link;
        }
        self.clock += 1;
        let entry = &mut self.blocks[block as usize];
        (entry.key, entry.link) = (Some(key.clone()), self.clock);
        self.known.insert(key, block);
        self.fresh.insert(block);
        self.clock
    }

    /// What is known is computed: a step begins.
    pub fn settle(&mut self) {
        self.fresh.clear();
    }

    /// Whether its content is there, and not only on its way.
    pub fn is_computed(&self, block: u32) -> bool {
        !self.fresh.contains(&block)
    }

    /// No block is known any more.
    pub fn forget(&mut self) {
        self.known.clear();
        self.blocks.iter_mut().for_each(|block| block.key = None);
        self.empty
            .extend(std::mem::take(&mut self.idle).into_values());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn found(pool: &BlockPool, tokens: &[u32], size: usize) -> Vec<u32> {
        let found = pool.find(tokens, size).into_iter();
        found.map(|(block, _)| block).collect()
    }

    #[test]
    fn a_prefix_is_found_as_long_as_its_place_is_not_needed() {
        let mut pool = BlockPool::new(3);
        let (a, b) = (pool.take().unwrap(), pool.take().unwrap());
        let link = pool.publish(a, ROOT, &[1, 2]);
        pool.publish(b, link, &[3, 4]);
        assert_eq!(found(&pool, &[1, 2, 3, 4, 5], 2), [a, b]);
        assert_eq!(found(&pool, &[3, 4], 2), [0_u32; 0]);
        assert_eq!(found(&pool, &[1, 2, 3, 5], 2), [a]);

        assert!(pool.is_shared(a));
        pool.hold(a);
        pool.release(a);
        // The end of a sequence is left first.
        pool.release(b);
        pool.release(a);
        assert_eq!(pool.available(), 3);
        let c = pool.take().unwrap();
        assert!(![a, b].contains(&c));
        assert_eq!(pool.take(), Some(b));
        assert_eq!(found(&pool, &[1, 2, 3, 4], 2), [a]);
        pool.hold(a);
        assert_eq!((pool.available(), pool.take()), (0, None));
    }

    #[test]
    fn the_first_of_equals_is_the_known_one() {
        let mut pool = BlockPool::new(4);
        let (a, b) = (pool.take().unwrap(), pool.take().unwrap());
        let link = pool.publish(a, ROOT, &[7]);
        assert_eq!(pool.publish(b, ROOT, &[7]), link);
        assert!(!pool.is_shared(b));
        pool.release(b);
        pool.release(a);
        assert_eq!(found(&pool, &[7], 1), [a]);
        pool.forget();
        assert_eq!(
            (found(&pool, &[7], 1), pool.available()),
            (Vec::<u32>::new(), 4)
        );
    }
}
