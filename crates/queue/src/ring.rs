//! Lists whose links live in their members, so that a member leaves in constant time wherever it
//! stands, and slabs that number the members.

use std::ops::{Index, IndexMut};

/// A member's place in a list.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Link {
    prev: Option<Node>,
    next: Option<Node>,
}

/// A list: first in, first out, unless a member is taken out from between.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ring {
    head: Option<Node>,
    tail: Option<Node>,
    len: u32,
}

/// Number of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Node(std::num::NonZeroU32);

impl Node {
    /// The node of an index; `None` past four thousand million.
    pub(crate) fn from_index(index: usize) -> Option<Self> {
        u32::try_from(index + 1).ok().and_then(std::num::NonZeroU32::new).map(Self)
    }

    pub(crate) const fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// Where the links of a list's members are.
pub(crate) trait Links {
    /// The link of a member.
    fn link(&mut self, node: Node) -> &mut Link;
}

impl Ring {
    pub(crate) const fn len(&self) -> usize {
        self.len as usize
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) const fn head(&self) -> Option<Node> {
        self.head
    }

    /// Adds `node`, which is in no list over the same links, at the end.
    pub(crate) fn push_back(&mut self, links: &mut impl Links, node: Node) {
        *links.link(node) = Link { prev: self.tail, next: None };
        match self.tail {
            Some(tail) => links.link(tail).next = Some(node),
            None => self.head = Some(node),
        }
        self.tail = Some(node);
        self.len += 1;
    }

    /// Takes out `node`, which is in this list.
    pub(crate) fn remove(&mut self, links: &mut impl Links, node: Node) {
        let Link { prev, next } = std::mem::take(links.link(node));
        match prev {
            Some(prev) => links.link(prev).next = next,
            None => self.head = next,
        }
        match next {
            Some(next) => links.link(next).prev = prev,
            None => self.tail = prev,
        }
        self.len -= 1;
    }

    /// Sends the first member to the end.
    pub(crate) fn rotate(&mut self, links: &mut impl Links) {
        if let Some(head) = self.head
            && self.len > 1
        {
            self.remove(links, head);
            self.push_back(links, head);
        }
    }

    /// The members in order.
    #[cfg(test)]
    pub(crate) fn nodes(&self, links: &mut impl Links) -> Vec<Node> {
        let mut nodes = Vec::new();
        let mut at = self.head;
        while let Some(node) = at {
            nodes.push(node);
            at = links.link(node).next;
        }
        assert_eq!((nodes.len(), nodes.last().copied()), (self.len(), self.tail));
        nodes
    }
}

/// Numbered values; numbers are used again.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    values: Vec<Option<T>>,
    free: Vec<Node>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { values: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub(crate) fn insert(&mut self, value: T) -> Node {
        if let Some(node) = self.free.pop() {
            self.values[node.index()] = Some(value);
            return node;
        }
        // Each value belongs to a row, a handful to one at most, and rows are numbered with 32 bits
        // and far larger: memory ends before the numbers do.
        let node = Node::from_index(self.values.len()).expect("fewer than 2^32 values");
        self.values.push(Some(value));
        node
    }

    pub(crate) fn remove(&mut self, node: Node) -> Option<T> {
        let value = self.values.get_mut(node.index())?.take()?;
        self.free.push(node);
        if self.free.len() == self.values.len() {
            // Nothing is left: give the memory of a large peak back.
            *self = Self::default();
        }
        Some(value)
    }

    pub(crate) fn get(&self, node: Node) -> Option<&T> {
        self.values.get(node.index())?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, node: Node) -> Option<&mut T> {
        self.values.get_mut(node.index())?.as_mut()
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len() - self.free.len()
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = Node> {
        let used = self.values.iter().enumerate().filter(|(_, value)| value.is_some());
        used.filter_map(|(index, _)| Node::from_index(index))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Node, &T)> {
        let values = self.values.iter().enumerate();
        values.filter_map(|(index, value)| Some((Node::from_index(index)?, value.as_ref()?)))
    }
}

// A number that leads nowhere is a breach of the queue's invariants, and a queue in doubt must not
// go on sending mail: these two panic.
impl<T> Index<Node> for Slab<T> {
    type Output = T;

    fn index(&self, node: Node) -> &T {
        self.get(node).expect("the number is in use")
    }
}

impl<T> IndexMut<Node> for Slab<T> {
    fn index_mut(&mut self, node: Node) -> &mut T {
        self.get_mut(node).expect("the number is in use")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    impl Links for Slab<Link> {
        fn link(&mut self, node: Node) -> &mut Link {
            &mut self[node]
        }
    }

    proptest::proptest! {
        #[test]
        fn a_ring_behaves_like_a_deque(steps in proptest::collection::vec((0_u8..4, 0_usize..20), 0..200)) {
            let mut links = Slab::<Link>::default();
            let mut ring = Ring::default();
            let mut model = VecDeque::new();
            for (step, which) in steps {
                match step {
                    0 | 1 => {
                        let node = links.insert(Link::default());
                        ring.push_back(&mut links, node);
                        model.push_back(node);
                    }
                    2 if !model.is_empty() => {
                        let node = model.remove(which % model.len()).unwrap();
                        ring.remove(&mut links, node);
                        links.remove(node);
                    }
                    _ => {
                        ring.rotate(&mut links);
                        if !model.is_empty() {
                            model.rotate_left(1);
                        }
                    }
                }
                proptest::prop_assert_eq!(ring.nodes(&mut links), Vec::from(model.clone()));
                proptest::prop_assert_eq!(links.len(), model.len());
            }
        }
    }
}
