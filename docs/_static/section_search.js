// The search of these pages. Sphinx's own finds a page only where each word of the question stands
// in it, and no sections. This one orders sections by how much of the question they have (BM25), so
// that a whole sentence may be asked. What it reads, `SectionSearch`, was written by
// docs/section_index.py, and what it finds is shown by Sphinx.
"use strict";

(() => {
    const { sections, words, asked, alike, weights } = SectionSearch;
    for (const each of [words, asked, alike, weights]) Object.setPrototypeOf(each, null);
    const known = Object.keys(words);
    const stemmer = new Stemmer();

    const SHOWN = 20, PASSAGE = 240; // Results, and letters of each. Its page is loaded for them.
    const SATURATION = 8, LENGTH = 0.35; // BM25's k1, in the weights of the index, and b.
    const MEAN = sections.reduce((sum, [, , , , length]) => sum + length, 0) / sections.length;

    // How much a name of the index counts that is not the very word.
    const SMALL = 0.2; // A word that says little: `how`, `get`.
    const ALIKE = 0.4; // Another word for the same.
    const PART = 0.4; // A longer word, or one that may have been meant.
    const WEAK = new Set(
        ("get give happen know let like make need possible put see take tell use want way " +
            "without work").split(" "),
    );

    // How much a section counts.
    const ON_PAGE = 0.25, ON_PAGE_SHARE = 0.8; // For a word that is elsewhere on its page.
    const OBJECT = 0.55; // An object of the reference, behind the pages that show it in use.
    const FIRST = 1000; // For one that is called just so.
    const NEXT = 0.85; // Each further one of a page, so that other pages are seen.

    // The names of the index that a word stands for, each with what it counts.
    function meantBy(typed) {
        const lower = typed.toLowerCase();
        if (stopwords.has(lower)) {
            const capital = typed.toUpperCase();
            return capital in words ? [[capital, typed === capital ? 1 : SMALL]] : [];
        }
        const stem = stemmer.stemWord(lower);
        const much = WEAK.has(stem) ? SMALL : 1;
        const others = (alike[stem] ?? []).filter((name) => name in words);
        const names = others.map((name) => [name, ALIKE]);
        if (stem in words) {
            const longer = stem.length > 4 ? known.filter((name) => name.startsWith(stem)) : [];
            names.push(...longer.map((name) => [name, name === stem ? 1 : PART]));
            if (!longer.length) names.push([stem, 1]);
        } else {
            names.push(...guess(stem).map((name) => [name, PART]));
        }
        return names.map(([name, part]) => [name, much * part]);
    }

    // The most frequent name that begins so, else that is spelt nearly so.
    function guess(stem) {
        if (stem.length < 4 || /^\d+$/.test(stem)) return [];
        let near = known.filter((name) => name.startsWith(stem));
        if (!near.length && stem.length > 4) near = known.filter((name) => isMeant(stem, name));
        return near.sort((one, other) => words[other].length - words[one].length).slice(0, 1);
    }

    // Of a misspelt word an ending may be left: `pagnat` was to be `pagin`.
    function isMeant(stem, name) {
        const ends = name.length > 4 ? [stem.length, name.length, name.length - 1] : [stem.length];
        return ends.some((end) => stem.length - end < 4 && isNear(stem.slice(0, end), name));
    }

    // Whether a letter is missing, too many or another one, or two are exchanged.
    function isNear(one, other) {
        if (Math.abs(one.length - other.length) > 1) return false;
        const shorter = Math.min(one.length, other.length);
        let start = 0, end = 0;
        while (start < shorter && one[start] === other[start]) start++;
        while (end < shorter - start && one.at(-1 - end) === other.at(-1 - end)) end++;
        const left = Math.max(one.length, other.length) - start - end;
        const exchanged = one[start] === other[start + 1] && one[start + 1] === other[start];
        return left < 2 || (left === 2 && one.length === other.length && exchanged);
    }

    // What a name is worth: the fewer sections have it, the more.
    function worthOf(name) {
        const count = words[name].length / 2;
        return Math.log(1 + (sections.length - count + 0.5) / (count + 0.5));
    }

    // What the sections have of one word: the most that any of its names gives.
    function found(names) {
        const much = new Map();
        for (const [name, part] of names) {
            const worth = part * worthOf(name);
            for (let at = 0; at < words[name].length; at += 2) {
                const number = words[name][at], often = words[name][at + 1];
                const length = 1 - LENGTH + (LENGTH * sections[number][4]) / MEAN;
                const score = (worth * often) / (often + SATURATION * length);
                much.set(number, Math.max(much.get(number) ?? 0, score));
            }
        }
        return much;
    }

    // The same for whole pages.
    function onPages(much) {
        const best = new Map();
        for (const [number, score] of much) {
            const [page] = sections[number];
            best.set(page, Math.max(best.get(page) ?? 0, score));
        }
        return best;
    }

    // What each section has of a question: the score of its words, less where some are not there.
    function rated(query) {
        const scores = new Float64Array(sections.length);
        const shares = new Float64Array(sections.length);
        let whole = 0;
        for (const typed of new Set(splitQuery(query))) {
            const names = meantBy(typed);
            const worth = Math.max(0, ...names.map(([name, part]) => part * worthOf(name)));
            const here = found(names), near = onPages(here);
            whole += worth;
            sections.forEach(([page], number) => {
                if (!near.has(page)) return;
                scores[number] += (here.get(number) ?? 0) + ON_PAGE * near.get(page);
                shares[number] += worth * (here.has(number) ? 1 : ON_PAGE_SHARE);
            });
        }
        return [...scores].map(
            (score, number) => [number, score && score * Math.sqrt(shares[number] / whole)],
        );
    }

    // The best sections: those first that are called just so.
    function best(query) {
        const stems = splitQuery(query.toLowerCase()).map((word) => stemmer.stemWord(word));
        const named = new Set(asked[stems.join(" ")]);
        const weighed = rated(query).map(([number, score]) => {
            const [page, , , , , isObject] = sections[number];
            const much = score * (weights[page] ?? 1) * (isObject ? OBJECT : 1);
            return [number, named.has(number) ? much + FIRST : much];
        });
        return spread(weighed.filter(([, score]) => score > 0).sort(downwards)).slice(0, SHOWN);
    }

    const downwards = ([, one], [, other]) => other - one;

    // Each further one of a page counts less.
    function spread(ordered) {
        const before = new Map();
        const less = ordered.map(([number, score]) => {
            const [page] = sections[number];
            before.set(page, (before.get(page) ?? -1) + 1);
            return [number, score * NEXT ** before.get(page)];
        });
        return less.sort(downwards);
    }

    // As Sphinx has its results, the best one last.
    Search._performSearch = (query) => {
        document.getElementById("search-progress")?.replaceChildren();
        const results = best(query).map(([number, score]) => {
            const [page, anchor, heading, title, , isObject] = sections[number];
            const name = isObject || heading === title ? heading : `${title} > ${heading}`;
            const kind = isObject ? "object" : "title";
            return [page, name, anchor && `#${anchor}`, isObject ? title : null, score, "", kind];
        });
        return results.reverse();
    };

    // The passage that has the most of the words; Sphinx takes the first with the last one.
    Search.makeSearchSummary = (html, stems, anchor) => {
        const text = Search.htmlToText(html, anchor).replace(/\s+/g, " ").trim();
        const lower = text.toLowerCase();
        let start = 0, most = 0;
        for (let at = 0; at < text.length; at += PASSAGE / 4) {
            const passage = lower.slice(at, at + PASSAGE);
            const has = [...stems].filter((stem) => passage.includes(stem)).length;
            if (has > most) [start, most] = [at, has];
        }
        if (start) start = lower.indexOf(" ", start) + 1;
        const shown = document.createElement("p");
        shown.className = "context";
        shown.textContent = (start ? "... " : "") + text.slice(start, start + PASSAGE)
            + (start + PASSAGE < text.length ? " ..." : "");
        return shown;
    };

    Object.assign(Documentation.TRANSLATIONS, {
        "Search finished, found one page matching the search query.": [
            "One place has something of it.",
            "The ${resultCount} places that have the most of it, the best one first.",
        ],
        "Your search did not match any documents. Please make sure that all words are spelled correctly and that you've selected enough categories.":
            "No page has any of these words.",
    });
})();
