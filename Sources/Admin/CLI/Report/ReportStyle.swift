// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors

/// How a report looks: on a light and a dark screen, and on paper.
///
/// The colours are told apart by people who see no red or no green, and by their lightness on grey paper; what was refused
/// is hatched besides. Neither `<` nor `&` stands in the sheet, so that HTML and XML read the same bytes.
enum ReportStyle {
    /// The sheet.
    static let sheet: StaticString = """

        :root {
            color-scheme: light dark;
            --page: #ffffff; --panel: #f5f7f9; --ink: #1a2027; --soft: #566270; --line: #d9dfe5; --link: #0b5a8f;
            --ran: #0072b2; --open: #a5d3ec; --failed: #f0b03f; --refused: #b3420b; --hatch: #f6c9ae; --bad: #9c2f06;
        }
        @media (prefers-color-scheme: dark) {
            :root {
                --page: #14181d; --panel: #1c2229; --ink: #e6ebf0; --soft: #9aa7b4; --line: #313a44; --link: #7cc0ee;
                --ran: #3f9bd8; --open: #b9dcf2; --failed: #f2c266; --refused: #e8703a; --hatch: #6b2a0c; --bad: #ff9a6b;
            }
        }
        * { box-sizing: border-box; }
        html { -webkit-text-size-adjust: 100%; }
        body {
            margin: 0 auto; padding: 2.5rem 1.5rem 4rem; max-width: 68rem; background: var(--page); color: var(--ink);
            font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif;
            font-variant-numeric: tabular-nums lining-nums;
        }
        a { color: var(--link); text-underline-offset: 0.15em; }
        header { border-bottom: 2px solid var(--ink); padding-bottom: 1.1rem; }
        .kicker { margin: 0; color: var(--soft); font-size: 0.85rem; letter-spacing: 0.06em; text-transform: uppercase; }
        h1 { margin: 0.1rem 0 0.3rem; font-size: 1.9rem; line-height: 1.2; font-weight: 650; overflow-wrap: anywhere; }
        h2 { margin: 0 0 0.2rem; font-size: 1.25rem; line-height: 1.3; font-weight: 650; }
        h3 { margin: 1.6rem 0 0.2rem; font-size: 1rem; font-weight: 650; }
        header p { margin: 0.15rem 0; }
        p { max-width: 48rem; }
        section { margin-top: 2.75rem; }
        section > p, .note { margin: 0.2rem 0 0.9rem; color: var(--soft); }
        .bad { color: var(--bad); font-weight: 600; }
        code, .command { font: 0.87em/1.45 ui-monospace, "Cascadia Mono", Menlo, "DejaVu Sans Mono", monospace; }
        .command { overflow-wrap: anywhere; }
        .figures {
            display: grid; grid-template-columns: repeat(auto-fit, minmax(10.2rem, 1fr)); gap: 1px; margin: 1.6rem 0 0;
            background: var(--line); border: 1px solid var(--line);
        }
        .figures div { background: var(--page); padding: 0.75rem 0.9rem 0.7rem; }
        .figures dt { color: var(--soft); font-size: 0.82rem; }
        .figures dd { margin: 0; font-size: 1.4rem; font-weight: 600; line-height: 1.25; white-space: nowrap; }
        .figures .more { display: block; color: var(--soft); font-size: 0.82rem; font-weight: 400; }
        .look { margin: 0.4rem 0 0; padding: 0; list-style: none; border-top: 1px solid var(--line); }
        .look li { padding: 0.4rem 0; border-bottom: 1px solid var(--line); }
        figure { margin: 0.8rem 0 0; }
        svg { display: block; width: 100%; height: auto; }
        .axis { fill: var(--soft); font: 12px system-ui, "Noto Sans", "DejaVu Sans", sans-serif; }
        .grid { stroke: var(--line); stroke-width: 1; }
        .base { stroke: var(--soft); stroke-width: 1; }
        .ran { fill: var(--ran); } .open { fill: var(--open); } .failed { fill: var(--failed); }
        .refused { fill: var(--refused); } .hatch { stroke: var(--hatch); stroke-width: 1.6; }
        .cell { fill: var(--ran); } .empty { fill: var(--panel); }
        .legend { display: flex; flex-wrap: wrap; gap: 0.3rem 1.4rem; margin: 0.6rem 0 0; padding: 0; list-style: none; }
        .legend li { display: flex; align-items: center; gap: 0.45rem; font-size: 0.9rem; }
        .legend svg { width: 14px; height: 14px; flex: none; }
        .scroll { overflow-x: auto; }
        table { width: 100%; border-collapse: collapse; margin: 0.3rem 0 0; font-size: 0.93rem; }
        caption { text-align: left; color: var(--soft); padding: 0 0 0.3rem; }
        th, td { padding: 0.32rem 0.8rem 0.32rem 0; text-align: left; vertical-align: baseline; }
        th { color: var(--soft); font-weight: 500; font-size: 0.84rem; white-space: nowrap; }
        thead th, thead td { border-bottom: 1px solid var(--ink); }
        tbody td, tbody th { border-bottom: 1px solid var(--line); }
        tbody th { color: var(--ink); font-weight: 500; font-size: inherit; white-space: normal; overflow-wrap: anywhere; }
        .number { text-align: right; white-space: nowrap; }
        .number + :not(.number) { padding-left: 0.8rem; }
        .when { white-space: nowrap; }
        td.bar { width: 26%; min-width: 6rem; vertical-align: middle; padding-right: 0; }
        td.bar svg { height: 0.72rem; }
        .pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(24rem, 1fr)); gap: 0 2.5rem; }
        details { margin-top: 0.7rem; }
        summary { cursor: pointer; color: var(--link); font-size: 0.9rem; }
        nav ul { display: flex; flex-wrap: wrap; gap: 0.2rem 1.2rem; padding: 0; margin: 1rem 0 0; list-style: none; font-size: 0.92rem; }
        footer { margin-top: 3.5rem; padding-top: 0.9rem; border-top: 2px solid var(--ink); color: var(--soft); font-size: 0.88rem; }
        footer code { overflow-wrap: anywhere; }
        @media (max-width: 40rem) { .pair { grid-template-columns: 1fr; } body { padding: 1.2rem 0.9rem 3rem; } }
        @page { size: A4; margin: 16mm 15mm; }
        @media print {
            :root {
                --page: #ffffff; --panel: #f2f4f6; --ink: #000000; --soft: #444c55; --line: #c9d0d7; --link: #000000;
                --ran: #0072b2; --open: #a5d3ec; --failed: #f0b03f; --refused: #b3420b; --hatch: #f6c9ae; --bad: #7a2504;
            }
            body { max-width: none; padding: 0; font-size: 9.5pt; line-height: 1.4; }
            svg, .figures { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
            nav, details:not([open]) { display: none; }
            a { text-decoration: none; color: inherit; }
            section { margin-top: 1.6rem; }
            tr, li, figure, .figures { break-inside: avoid; }
            h2, h3, caption { break-after: avoid; }
            thead { display: table-header-group; }
            .pair { grid-template-columns: 1fr 1fr; gap: 0 1.6rem; }
            .scroll { overflow: visible; }
        }

        """
}
