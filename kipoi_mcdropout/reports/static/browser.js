// The genome browser: igv.js is unpacked and started when its place comes into view, or is asked for.

(() => {
  const place = document.querySelector("[data-browser]");
  const bar = document.querySelector("[data-browser-bar]");
  const status = document.querySelector("[data-browser-status]");
  const choice = document.getElementById("browser-region");
  const data = JSON.parse(document.getElementById("browser-data").textContent);
  let started = null;

  async function unpackedCode() {
    const packed = document.getElementById("browser-code").textContent.trim();
    const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  }

  /** Features of igv.js from stretches of numbers: of consecutive positions, or with starts and ends. */
  function features(runs) {
    return runs.flatMap(({ chr, start, starts, ends, values }) =>
      values
        .map((value, i) => {
          const from = starts ? starts[i] : start + i;
          return { chr, start: from, end: ends ? ends[i] : from + 1, value };
        })
        .filter(({ value }) => value !== null),
    );
  }

  function trackOf(track, order) {
    const common = { name: track.name, order, removable: false };
    if (track.kind === "features" || track.kind === "genes") {
      const look = track.kind === "genes" ? { color: "rgb(60,60,60)", height: 60 } : { height: 90 };
      return {
        ...common, ...look, type: "annotation", features: track.features, displayMode: "EXPANDED",
        maxRows: 50, searchable: track.kind === "genes",
      };
    }
    const letters = track.kind === "letters";
    const graphType = letters ? "dynseq" : track.kind === "points" ? "points" : "bar";
    return {
      ...common, type: "wig", graphType, features: features(track.runs),
      min: track.min, max: track.max, color: track.color, altColor: track.below, height: { letters: 90, bars: 45, points: 60 }[track.kind],
      pointSize: 6, windowFunction: "none", searchable: false, // a mean or maximum would hide effects
    };
  }

  async function start() {
    status.textContent = "The genome browser is being started ...";
    const script = document.createElement("script");
    script.textContent = await unpackedCode();
    document.head.append(script);
    const browser = await window.igv.createBrowser(place, {
      reference: {
        id: "reference",
        fastaURL: `data:text/plain;base64,${btoa(data.fasta)}`,
        indexed: false,
        wholeGenomeView: false,
      },
      locus: data.locus,
      loadDefaultGenomes: false,
      search: false,
      queryParametersSupported: false,
      showIdeogram: false,
      showSequence: data.has_sequence,
      showChromosomeWidget: false,
      showMultiSelectButton: false,
      nucleotideColors: data.colors,
      tracks: data.tracks.map(trackOf),
    });
    // igv.js draws on white and resets its styles, also those that would keep its words dark on it.
    place.shadowRoot.querySelector(".igv-container").style.colorScheme = "light";
    place.genomeBrowser = browser; // for those who want to do more with it by script
    place.dataset.browser = "ready";
    status.textContent = "";
    return browser;
  }

  function browser() {
    if (started === null) {
      started = start().catch((error) => {
        status.textContent =
          `The genome browser cannot be drawn here (${error.message || error}). A newer web browser may ` +
          "be needed. The table below has the regions.";
        return null;
      });
    }
    return started;
  }

  async function show(locus) {
    const drawn = await browser();
    if (drawn !== null) {
      await drawn.search(locus);
      status.textContent = `Shown: ${locus}`;
    }
  }

  /** Makes a button of the cell that says where a row lies, where the browser has the place. */
  function makeButtons(table) {
    const heads = Array.from(table.tHead.rows[0].cells, (cell) => cell.textContent.trim());
    const index = heads.findIndex((head) => head === "Position" || head === "Region");
    for (const row of table.querySelectorAll("tr[data-locus]")) {
      const cell = row.cells[index];
      const button = document.createElement("button");
      button.type = "button";
      button.className = "place";
      button.title = "Show in the genome browser";
      button.append(...cell.childNodes);
      cell.append(button);
      button.addEventListener("click", () => {
        document.getElementById("browser").scrollIntoView();
        choice.value = row.dataset.region;
        show(row.dataset.locus);
      });
    }
  }

  bar.hidden = false;
  choice.addEventListener("change", () => show(choice.value));
  document.querySelectorAll("table:has(tr[data-locus])").forEach(makeButtons);
  const seen = new IntersectionObserver(
    (entries) => {
      if (entries.some((entry) => entry.isIntersecting)) {
        seen.disconnect();
        browser();
      }
    },
    { rootMargin: "200px" },
  );
  seen.observe(place);
})();
