// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

import Core

/// The directories of `<path …>` tokens by their components, so that a path finds all that it lies beneath in one walk.
struct DirectoryTree: Sendable {
    /// The root of the tree, which holds every absolute path.
    private static let root: UInt32 = 0
    /// A directory beneath which no path lies: it is not absolute.
    private static let nowhere: UInt32 = .max

    private var components = ByteTable()
    /// Children by a directory and the number of a component.
    private var edges = EdgeTable()
    /// Of each node whether a token names it; the others are on the way to one.
    private var isNamed = [false]

    /// The number of a directory.
    mutating func insert(_ directory: ByteText) -> Int {
        // `/` holds what no directory at all would: every absolute path.
        guard directory.count > 1 else {
            guard directory.isEmpty || directory == "/" else { return Int(Self.nowhere) }
            isNamed[Int(Self.root)] = true
            return Int(Self.root)
        }
        guard directory.bytes.first == UInt8(ascii: "/") else { return Int(Self.nowhere) }
        let path = directory.bytes.span
        var node = Self.root
        var start = 1
        while start <= path.count {
            var end = start
            while end < path.count, path[end] != UInt8(ascii: "/") { end += 1 }
            let number = UInt32(components.insert(path.extracting(start..<end)))
            start = end + 1
            if let child = edges.child(of: node, number) {
                node = child
            } else {
                let child = UInt32(isNamed.count)
                edges.insert(child, of: node, number)
                isNamed.append(false)
                node = child
            }
        }
        isNamed[Int(node)] = true
        return Int(node)
    }

    /// The directories of tokens that are at or above a plain path.
    func directories(of path: Span<UInt8>) -> FewNumbers {
        var found = FewNumbers()
        if isNamed[Int(Self.root)] { found.append(Self.root) }
        var node = Self.root
        var start = 1
        while start <= path.count {
            var end = start
            while end < path.count, path[end] != UInt8(ascii: "/") { end += 1 }
            guard let component = components.number(path.extracting(start..<end)),
                let child = edges.child(of: node, UInt32(component))
            else { break }
            node = child
            if isNamed[Int(node)] { found.append(node) }
            start = end + 1
        }
        return found
    }
}
