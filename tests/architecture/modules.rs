//! The modules of a crate, and the arrows between its files: which file names an item of which other file.
//!
//! Modules for tests are left out. Paths inside macro calls are not seen.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, UseTree};

/// Reads a source file; `None` if there is no such file.
pub(crate) type ReadFile<'r> = &'r dyn Fn(&Path) -> Option<String>;

/// The source of one crate.
#[derive(Default)]
pub(crate) struct Crate {
    /// The file of each module, by the module's path; the root has the empty path.
    files: BTreeMap<Vec<String>, PathBuf>,
    /// The items of each module.
    items: BTreeMap<Vec<String>, Vec<Item>>,
}

/// Which files each file has arrows to.
pub(crate) type Graph = BTreeMap<PathBuf, BTreeSet<PathBuf>>;

impl Crate {
    /// Reads a crate from its root file.
    pub(crate) fn read(root: &Path, read: ReadFile<'_>) -> Self {
        let mut all = Self::default();
        let text = read(root).unwrap_or_else(|| panic!("{} cannot be read", root.display()));
        let directory = root.parent().unwrap_or(Path::new("")).to_owned();
        all.add(Vec::new(), root, &directory, parse(root, &text), read);
        all
    }

    /// Adds a module. `directory` is where the files of its children are.
    fn add(
        &mut self,
        path: Vec<String>,
        file: &Path,
        directory: &Path,
        items: Vec<Item>,
        read: ReadFile<'_>,
    ) {
        let items: Vec<_> = items.into_iter().filter(|item| !is_test(attributes(item))).collect();
        for item in &items {
            let Item::Mod(module) = item else { continue };
            let name = module.ident.to_string();
            let child: Vec<_> = path.iter().cloned().chain([name.clone()]).collect();
            match &module.content {
                Some((_, inner)) => self.add(child, file, &directory.join(&name), inner.clone(), read),
                None => self.add_file(child, module, directory, read),
            }
        }
        self.files.insert(path.clone(), file.to_owned());
        self.items.insert(path, items);
    }

    fn add_file(&mut self, path: Vec<String>, module: &ItemMod, directory: &Path, read: ReadFile<'_>) {
        let name = module.ident.to_string();
        let candidates = [directory.join(format!("{name}.rs")), directory.join(&name).join("mod.rs")];
        let found = candidates.iter().find_map(|file| Some((file, read(file)?)));
        let (file, text) = found.unwrap_or_else(|| panic!("module {path:?} has no file"));
        self.add(path, file, &directory.join(&name), parse(file, &text), read);
    }

    /// The arrows between the crate's files.
    pub(crate) fn graph(&self) -> Graph {
        let mut graph = Graph::new();
        for (module, items) in &self.items {
            let from = &self.files[module];
            for path in paths(items) {
                let Some(target) = self.resolve(module, &path) else { continue };
                if target != from {
                    graph.entry(from.clone()).or_default().insert(target.clone());
                }
            }
        }
        graph
    }

    /// The crates whose items are named: the first segments of all paths.
    pub(crate) fn first_segments(&self) -> BTreeSet<String> {
        self.items.values().flat_map(|items| paths(items)).map(|path| path[0].clone()).collect()
    }

    /// The file that defines what `path` names, seen from `module`: imports in other modules are followed.
    fn resolve(&self, module: &[String], path: &[String]) -> Option<&PathBuf> {
        let (mut at, mut rest) = self.innermost(module, path)?;
        // Each import leads to another module; more than a few would be a circle of imports.
        for _ in 0..8 {
            let Some((name, behind)) = rest.split_first() else { break };
            let imports = self.items.get(&at)?.iter().filter_map(|item| match item {
                Item::Use(item) => Some(bindings(&item.tree)),
                _ => None,
            });
            let Some((_, target)) = imports.flatten().find(|(bound, _)| bound == name) else { break };
            let target: Vec<_> = target.into_iter().chain(behind.iter().cloned()).collect();
            let Some(next) = self.innermost(&at, &target) else { break };
            if next.0 == at {
                break;
            }
            (at, rest) = next;
        }
        self.files.get(&at)
    }

    /// The innermost module that `path` names, seen from `module`, and what is left of the path.
    fn innermost(&self, module: &[String], path: &[String]) -> Option<(Vec<String>, Vec<String>)> {
        let mut at = module.to_vec();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => {
                at.clear();
                rest = &path[1..];
            }
            "self" => rest = &path[1..],
            "super" => {
                while rest.first().is_some_and(|segment| segment == "super") {
                    at.pop()?;
                    rest = &rest[1..];
                }
            }
            first => {
                at.push(first.to_owned());
                // A child module, or else a name of another crate or of an item.
                self.files.get(&at)?;
                rest = &path[1..];
            }
        }
        while let Some((segment, behind)) = rest.split_first() {
            at.push(segment.clone());
            if !self.files.contains_key(&at) {
                at.pop();
                break;
            }
            rest = behind;
        }
        self.files.contains_key(&at).then(|| (at, rest.to_vec()))
    }
}

fn parse(file: &Path, text: &str) -> Vec<Item> {
    syn::parse_file(text).unwrap_or_else(|error| panic!("{}: {error}", file.display())).items
}

/// All paths of at least two segments that the items name.
fn paths(items: &[Item]) -> Vec<Vec<String>> {
    #[derive(Default)]
    struct Paths(Vec<Vec<String>>);
    impl<'ast> Visit<'ast> for Paths {
        fn visit_item(&mut self, item: &'ast Item) {
            // Inline modules are modules of their own.
            if !is_test(attributes(item)) && !matches!(item, Item::Mod(_)) {
                visit::visit_item(self, item);
            }
        }

        fn visit_path(&mut self, path: &'ast syn::Path) {
            if path.leading_colon.is_none() && path.segments.len() > 1 {
                self.0.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
            }
            visit::visit_path(self, path);
        }

        fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
            flatten(&item.tree, &mut Vec::new(), &mut self.0);
        }
    }
    let mut found = Paths::default();
    for item in items {
        found.visit_item(item);
    }
    found.0
}

/// The names that a `use` binds, with their paths.
fn bindings(tree: &UseTree) -> Vec<(String, Vec<String>)> {
    fn collect(tree: &UseTree, before: &[String], found: &mut Vec<(String, Vec<String>)>) {
        let with = |name: String| before.iter().cloned().chain([name]).collect::<Vec<_>>();
        match tree {
            UseTree::Path(path) => collect(&path.tree, &with(path.ident.to_string()), found),
            UseTree::Name(name) if name.ident == "self" => {
                found.extend(before.last().map(|last| (last.clone(), before.to_vec())));
            }
            UseTree::Name(name) => found.push((name.ident.to_string(), with(name.ident.to_string()))),
            UseTree::Rename(name) => found.push((name.rename.to_string(), with(name.ident.to_string()))),
            UseTree::Glob(_) => {}
            UseTree::Group(group) => group.items.iter().for_each(|tree| collect(tree, before, found)),
        }
    }
    let mut found = Vec::new();
    collect(tree, &[], &mut found);
    found
}

fn flatten(tree: &UseTree, before: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, found);
            before.pop();
        }
        UseTree::Name(name) => found.push(before.iter().cloned().chain([name.ident.to_string()]).collect()),
        UseTree::Rename(name) => found.push(before.iter().cloned().chain([name.ident.to_string()]).collect()),
        UseTree::Glob(_) => found.push(before.clone()),
        UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, before, found);
            }
        }
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The circles of a graph: sets of files that each reach all others of their set, sorted.
pub(crate) fn circles(graph: &Graph) -> Vec<Vec<PathBuf>> {
    let reachable = |from: &PathBuf| {
        let mut seen = BTreeSet::new();
        let mut open = vec![from];
        while let Some(file) = open.pop() {
            for next in graph.get(file).into_iter().flatten() {
                if seen.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
        seen
    };
    let reach: BTreeMap<_, _> = graph.keys().map(|file| (file, reachable(file))).collect();
    let mut found: Vec<Vec<PathBuf>> = Vec::new();
    for (file, reached) in &reach {
        if !reached.contains(*file) || found.iter().any(|circle| circle.contains(file)) {
            continue;
        }
        let back = |other: &&PathBuf| reach.get(*other).is_some_and(|reached| reached.contains(*file));
        found.push(reached.iter().filter(back).cloned().collect());
    }
    found
}
