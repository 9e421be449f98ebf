//! The places that a list of rules looks at, as a tree.

/// Places in one list.
pub(crate) const PLACES_MAX: usize = 16;
/// Names in one pointer.
const NAMES_MAX: usize = 15;
/// Arrays and objects that a pointer leads through.
pub(crate) const LEVELS_MAX: usize = NAMES_MAX + 1;
/// One bit of each is in a word.
const NODES_MAX: usize = 64;

/// The whole text.
pub(crate) const ROOT: u8 = 0;

/// JSON Pointers (RFC 6901), each with a number, merged where they begin alike.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pointers: Vec<String>,
    nodes: Vec<Node>,
}

/// One name of a pointer, below those before it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Node {
    /// Its number, if a pointer ends here.
    pub(crate) place: Option<u8>,
    /// One bit of each child.
    pub(crate) below: u64,
    children: Vec<Child>,
}

#[derive(Debug, Clone)]
struct Child {
    name: Box<[u8]>,
    /// Its first eight bytes.
    word: u64,
    /// The name, where it can be that of an array's element.
    index: Option<u32>,
    node: u8,
}

impl Node {
    /// The child of this name.
    pub(crate) fn member(&self, name: &[u8]) -> Option<u8> {
        self.children.iter().find(|child| *child.name == *name).map(|child| child.node)
    }

    /// The child of a name of so many bytes, eight at the most, which are these, the first of them the lowest.
    #[inline(always)]
    pub(crate) fn short_member(&self, length: usize, word: u64) -> Option<u8> {
        let is_it = |child: &&Child| child.word == word && child.name.len() == length;
        self.children.iter().find(is_it).map(|child| child.node)
    }

    pub(crate) fn element(&self, index: u32) -> Option<u8> {
        self.children.iter().find(|child| child.index == Some(index)).map(|child| child.node)
    }
}

impl Places {
    pub(crate) fn new() -> Places {
        Places { pointers: Vec::new(), nodes: vec![Node::default()] }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pointers.is_empty()
    }

    pub(crate) fn node(&self, node: u8) -> Option<&Node> {
        self.nodes.get(usize::from(node))
    }

    /// The number of a pointer.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub(crate) fn place(&mut self, pointer: &str) -> Result<u8, String> {
        if let Some(place) = self.pointers.iter().position(|other| other == pointer) {
            return Ok(place as u8);
        }
        let names = names(pointer)?;
        if self.pointers.len() == PLACES_MAX {
            return Err(format!(
                "{pointer:?} is the {}th pointer of this list; {PLACES_MAX} are looked for at the most: use fewer",
                PLACES_MAX + 1
            ));
        }
        let mut node = ROOT;
        for name in names {
            node = self.child(node, name)?;
        }
        let place = self.pointers.len() as u8;
        self.pointers.push(pointer.to_owned());
        if let Some(node) = self.nodes.get_mut(usize::from(node)) {
            node.place = Some(place);
        }
        Ok(place)
    }

    fn child(&mut self, parent: u8, name: String) -> Result<u8, String> {
        let next = self.nodes.len();
        let Some(node) = self.nodes.get_mut(usize::from(parent)) else { return Ok(ROOT) };
        if let Some(child) = node.children.iter().find(|child| *child.name == *name.as_bytes()) {
            return Ok(child.node);
        }
        if next == NODES_MAX {
            return Err(format!(
                "the pointers of this list have more than {NODES_MAX} names together: use fewer, or shorter ones"
            ));
        }
        let word = name.bytes().take(8).rev().fold(0, |word, byte| word << 8 | u64::from(byte));
        let child = Child { index: index(&name), word, name: name.into_bytes().into(), node: next as u8 };
        node.children.push(child);
        node.below |= 1 << next;
        self.nodes.push(Node::default());
        Ok(next as u8)
    }
}

/// The names of a pointer, without their escapes.
fn names(pointer: &str) -> Result<Vec<String>, String> {
    if pointer.is_empty() {
        return Ok(Vec::new());
    }
    let Some(rest) = pointer.strip_prefix('/') else {
        return Err(format!("{pointer:?} is no JSON Pointer: begin it with a slash, as in \"/type\""));
    };
    let names: Vec<String> = rest.split('/').map(|name| plain(pointer, name)).collect::<Result<_, _>>()?;
    if names.len() > NAMES_MAX {
        return Err(format!("{pointer:?} has more than {NAMES_MAX} names: use a shorter one"));
    }
    Ok(names)
}

fn plain(pointer: &str, name: &str) -> Result<String, String> {
    let mut parts = name.split('~');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (character, rest) = match part.split_at_checked(1) {
            Some(("0", rest)) => ('~', rest),
            Some(("1", rest)) => ('/', rest),
            _ => {
                return Err(format!(
                    "{pointer:?} is no JSON Pointer: write ~0 for a tilde, and ~1 for a slash in a name"
                ));
            }
        };
        plain.push(character);
        plain.push_str(rest);
    }
    Ok(plain)
}

/// RFC 6901, 4: digits without a leading zero.
fn index(name: &str) -> Option<u32> {
    let digits = name.bytes().all(|byte| byte.is_ascii_digit());
    (digits && (name == "0" || !name.starts_with('0'))).then(|| name.parse().ok()).flatten()
}
