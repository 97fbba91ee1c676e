//! Texts by their prefixes.

use std::collections::VecDeque;

/// A tree of bytes. The children of a node lie side by side, in order.
#[derive(Default)]
pub(super) struct Trie {
    nodes: Vec<Node>,
}

#[derive(Default)]
struct Node {
    byte: u8,
    children: u16,
    first_child: u32,
    value: Option<u32>,
}

impl Trie {
    /// A tree of these keys, each there once and none empty.
    pub fn new(mut keys: Vec<(&[u8], u32)>) -> Self {
        keys.sort_unstable();
        let mut nodes = vec![Node::default()];
        let mut open = VecDeque::from([(0, 0..keys.len(), 0)]);
        while let Some((node, mut range, depth)) = open.pop_front() {
            if let Some((key, value)) = keys.get(range.start)
                && key.len() == depth
                && !range.is_empty()
            {
                let known: &mut Node = &mut nodes[node];
                known.value = Some(*value);
                range.start += 1;
            }
            nodes[node].first_child = nodes.len() as u32;
            for group in keys[range.clone()].chunk_by(|(a, _), (b, _)| a[depth] == b[depth]) {
                open.push_back((
                    nodes.len(),
                    range.start..range.start + group.len(),
                    depth + 1,
                ));
                range.start += group.len();
                nodes[node].children += 1;
                nodes.push(Node {
                    byte: group[0].0[depth],
                    ..Node::default()
                });
            }
        }
        Self { nodes }
    }

    /// The lengths and values of all keys that the text begins with, the shortest first.
    pub fn prefixes(&self, text: &[u8]) -> impl Iterator<Item = (usize, u32)> {
        let mut node = self.nodes.first();
        text.iter()
            .zip(1..)
            .map_while(move |(byte, length)| {
                node = node.and_then(|node| self.child(node, *byte));
                node.map(|node| node.value.map(|value| (length, value)))
            })
            .flatten()
    }

    /// The longest key that the text begins with.
    pub fn longest_prefix(&self, text: &[u8]) -> Option<(usize, u32)> {
        self.prefixes(text).last()
    }

    fn child(&self, node: &Node, byte: u8) -> Option<&Node> {
        let first = node.first_child as usize;
        let children = &self.nodes[first..first + usize::from(node.children)];
        let index = children.binary_search_by_key(&byte, |child| child.byte);
        index.ok().map(|index| &children[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_come_shortest_first() {
        let trie = Trie::new(vec![
            (b"abc", 0),
            (b"a", 1),
            (b"ab", 2),
            (b"b", 3),
            (b"abd", 4),
        ]);
        let prefixes: Vec<_> = trie.prefixes(b"abdx").collect();
        assert_eq!(prefixes, [(1, 1), (2, 2), (3, 4)]);
        assert_eq!(trie.longest_prefix(b"bb"), Some((1, 3)));
        assert_eq!(trie.longest_prefix(b"c"), None);
        assert_eq!(Trie::default().longest_prefix(b"c"), None);
    }
}
