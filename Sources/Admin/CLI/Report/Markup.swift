// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// Text of an HTML page that is well-formed XML too (HTML Standard, "Writing documents in the XML syntax", and polyglot).
///
/// Names of elements and attributes are the program's own words; whatever else comes in is escaped here and nowhere else,
/// so that no stranger's byte can be markup.
struct Markup {
    /// The text.
    private(set) var text = ""

    /// The first line, which HTML wants and XML allows.
    mutating func doctype() {
        text += "<!DOCTYPE html>\n"
    }

    /// A comment of our own.
    mutating func comment(_ words: StaticString) {
        text += "<!-- \(words) -->\n"
    }

    /// An element with what the body puts into it.
    mutating func element(
        _ name: StaticString, _ attributes: KeyValuePairs<StaticString, String> = [:],
        _ body: (inout Markup) -> Void
    ) {
        open(name, attributes)
        text += ">"
        body(&self)
        text += "</\(name)>"
        if Self.ownLine.contains("\(name)") { text += "\n" }
    }

    /// An element with a text.
    mutating func element(
        _ name: StaticString, _ attributes: KeyValuePairs<StaticString, String>, _ words: String
    ) {
        element(name, attributes) { $0.write(words) }
    }

    /// An element with a text and no attributes.
    mutating func element(_ name: StaticString, _ words: String) {
        element(name, [:]) { $0.write(words) }
    }

    /// An element of which there is no end tag in HTML, or one of SVG without content.
    mutating func empty(_ name: StaticString, _ attributes: KeyValuePairs<StaticString, String> = [:]) {
        open(name, attributes)
        text += "/>"
        if Self.ownLine.contains("\(name)") { text += "\n" }
    }

    /// A chart in a figure, with what is said of it to who does not see it (SVG Accessibility API Mappings).
    ///
    /// - Parameters:
    ///   - name: tells it from the page's others.
    ///   - size: its width and height, in units of its own.
    ///   - title: what it shows.
    ///   - description: what is to be seen in it.
    mutating func chart(
        _ name: StaticString, size: (width: Int, height: Int), title: String, description: String,
        _ body: (inout Markup) -> Void
    ) {
        element("figure") { page in
            page.element(
                "svg",
                [
                    "viewBox": "0 0 \(size.width) \(size.height)", "role": "img",
                    "aria-labelledby": "\(name)-title \(name)-text", "xmlns": "http://www.w3.org/2000/svg",
                ]
            ) { page in
                page.element("title", ["id": "\(name)-title"], title)
                page.element("desc", ["id": "\(name)-text"], description)
                body(&page)
            }
        }
    }

    /// Text.
    mutating func write(_ words: String) {
        text += Self.escaped(words)
    }

    /// A style sheet of our own, byte for byte as its digest was taken.
    mutating func style(_ sheet: StaticString) {
        text += "<style>\(sheet)</style>\n"
    }

    private mutating func open(_ name: StaticString, _ attributes: KeyValuePairs<StaticString, String>) {
        text += "<\(name)"
        for (key, value) in attributes { text += " \(key)=\"\(Self.escaped(value))\"" }
    }

    /// Elements after which a line ends, so that people and diff can read the source.
    private static let ownLine: Set<String> = [
        "html", "head", "body", "meta", "title", "header", "section", "main", "footer", "nav", "h1", "h2", "h3", "p",
        "div", "table", "thead", "tbody", "tr", "caption", "ul", "li", "dl", "svg", "g", "details", "figure", "rect",
        "pattern", "defs",
    ]

    /// Text in which nothing is markup, and nothing but blanks and newlines is invisible: what XML 1.0 forbids, what
    /// changes the direction of writing, and other format characters stand as `\u{…}`.
    static func escaped(_ words: String) -> String {
        var out = ""
        out.reserveCapacity(words.utf8.count)
        for scalar in words.unicodeScalars {
            switch scalar {
            case "&": out += "&amp;"
            case "<": out += "&lt;"
            case ">": out += "&gt;"
            case "\"": out += "&quot;"
            case "'": out += "&#39;"
            case "\n", " "..."~": out.unicodeScalars.append(scalar)
            default:
                switch scalar.properties.generalCategory {
                case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator:
                    out += "\\u{" + String(scalar.value, radix: 16) + "}"
                default:
                    out.unicodeScalars.append(scalar)
                }
            }
        }
        return out
    }
}
