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
    private var edges: [UInt64: UInt32] = [:]
    private var count: UInt32 = 1

    /// The number of a directory.
    mutating func insert(_ directory: ByteText) -> Int {
        // `/` holds what no directory at all would: every absolute path.
        guard directory.count > 1 else {
            return Int(directory.isEmpty || directory == "/" ? Self.root : Self.nowhere)
        }
        guard directory.bytes.first == UInt8(ascii: "/") else { return Int(Self.nowhere) }
        var node = Self.root
        for component in directory.bytes.dropFirst().split(
            separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        {
            let edge = Self.edge(node, components.insert(Array(component).span))
            if let child = edges[edge] {
                node = child
            } else {
                edges[edge] = count
                node = count
                count += 1
            }
        }
        return Int(node)
    }

    private static func edge(_ node: UInt32, _ component: Int) -> UInt64 { UInt64(node) << 32 | UInt64(component) }

    /// The directories at or above a plain path, among them some that are only on the way to one.
    func directories(of path: Span<UInt8>) -> [UInt32] {
        var found = [Self.root]
        var node = Self.root
        var start = 1
        while start <= path.count {
            var end = start
            while end < path.count, path[end] != UInt8(ascii: "/") { end += 1 }
            guard let component = components.number(path.extracting(start..<end)),
                let child = edges[Self.edge(node, component)]
            else { break }
            node = child
            found.append(node)
            start = end + 1
        }
        return found
    }
}
