// Plays a signature as it was written: stroke after stroke, with its pressure, in its own time.
// signatureReplay(host, ink): ink is {width_mm, height_mm, duration_s, strokes: [[[x mm, y mm, pressure, s], …], …]}.
// Without a page of ours and without markup in strings, so that the strictest content policy lets it run.
"use strict";

const signatureReplay = (() => {
  const SPEEDS = [[0.25, "¼×"], [0.5, "½×"], [1, "1×"], [2, "2×"]];
  const MARGIN = 26;
  const STYLE = `
.replay { display: grid; grid-template-columns: 1fr auto; gap: 10px 14px; width: 100%; min-width: 0; color: #10243a; }
.replay-sheet { position: relative; height: 210px; min-width: 0; background: #fff; border: 2px solid #cfdae5; border-radius: 16px; overflow: hidden; }
.replay .replay-sheet canvas { position: absolute; inset: 0; width: 100%; height: 100%; border: 0; border-radius: 0; background: none; }
.replay-tip { position: absolute; width: 14px; height: 14px; margin: -7px 0 0 -7px; border-radius: 50%; background: #c8102e; border: 2px solid #fff; box-shadow: 0 0 0 1px #c8102e; }
.replay-tip.lifted { background: #fff; }
.replay-force { width: 40px; display: flex; flex-direction: column; align-items: center; gap: 6px; font-size: 13px; color: #51657a; }
.replay-force span { position: relative; flex: 1; width: 16px; border-radius: 8px; background: #e2eefa; overflow: hidden; }
.replay-force i { position: absolute; left: 0; right: 0; bottom: 0; height: 0; background: #0a4a8f; }
.replay-line, .replay-keys { grid-column: 1 / -1; display: flex; align-items: center; gap: 12px; flex-wrap: wrap; }
.replay-line input { flex: 1; min-width: 160px; height: 44px; accent-color: #0a4a8f; }
.replay-line output { font-variant-numeric: tabular-nums; min-width: 12.5em; text-align: right; }
.replay-line output small, .replay-keys small { display: block; font-weight: 400; opacity: .8; font-size: .78em; color: inherit; }
.replay-keys button { font: inherit; font-weight: 650; min-height: 52px; min-width: 48px; padding: 8px 14px; border: 2px solid #cfdae5; border-radius: 13px; background: #fff; color: inherit; cursor: pointer; line-height: 1.15; }
.replay-keys button.chosen { border-color: #0a4a8f; background: #e2eefa; }
.replay-keys button.play { background: #0a4a8f; border-color: #0a4a8f; color: #fff; min-width: 112px; }
.replay-keys button:focus-visible, .replay-line input:focus-visible { outline: 4px solid #ffbf47; outline-offset: 2px; }
.replay-speeds { display: flex; gap: 6px; align-items: center; }
.replay-keys .replay-speeds button { padding: 8px 12px; }
.replay-none { padding: 28px; }
`;

  function make(name, className, ...children) {
    const element = document.createElement(name);
    if (className) element.className = className;
    element.append(...children);
    return element;
  }

  function key(id, en, className, on) {
    const button = make("button", className, id);
    button.type = "button";
    if (en) { const small = make("small", "", en); small.lang = "en"; button.append(small); }
    button.addEventListener("click", on);
    return button;
  }

  function addStyle() {
    if (document.adoptedStyleSheets.some((sheet) => sheet.isSignatureReplay)) return;
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    sheet.isSignatureReplay = true;
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  }

  // All marks in one row; `lifted` begins a stroke.
  const rowOf = (strokes) => strokes.flatMap((stroke, number) => stroke.map(([x, y, pressure, at], index) => ({ x, y, pressure, at, number, lifted: index === 0 })));
  const seconds = (value) => value.toLocaleString("id-ID", { minimumFractionDigits: 1, maximumFractionDigits: 1 });

  return function signatureReplay(host, ink) {
    addStyle();
    const row = rowOf(ink.strokes);
    if (!row.length) { host.replaceChildren(make("p", "replay-none", "Tidak ada goresan pada rekaman ini. (This record holds no stroke.)")); return; }
    const ends = ink.strokes.map((stroke) => stroke[stroke.length - 1][3]);
    const total = Math.max(ink.duration_s, 0.001);
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    let [now, speed, playing, drawn, before] = [calm ? total : 0, 1, !calm, 0, null];

    const [ghost, sheet] = [make("canvas"), make("canvas")];
    const [tip, force] = [make("i", "replay-tip"), make("i")];
    const paper = make("div", "replay-sheet", ghost, sheet, tip);
    paper.setAttribute("role", "img");
    paper.setAttribute("aria-label", "Tanda tangan sebagaimana ditulis (the signature as it was written)");
    const slider = make("input");
    Object.assign(slider, { type: "range", min: 0, max: total, step: 0.01 });
    slider.setAttribute("aria-label", "Waktu (time)");
    const told = make("output");
    const play = key("", "", "play", () => { if (!playing && now >= total) seek(0); setPlaying(!playing); });
    const again = key("Dari awal", "From the start", "again", () => { seek(0); setPlaying(true); });
    const next = key("Goresan berikut", "Next stroke", "next", () => { setPlaying(false); seek(ends.find((end) => end > now + 0.001) ?? total); });
    const speeds = SPEEDS.map(([value, name]) => key(name, "", "speed", () => setSpeed(value)));
    host.replaceChildren(make("div", "replay", paper, make("div", "replay-force", make("span", "", force), "Tekanan"),
      make("div", "replay-line", slider, told), make("div", "replay-keys", play, again, next, make("span", "replay-speeds", ...speeds))));

    let fit = null;
    function layOut() {
      const ratio = window.devicePixelRatio || 1;
      for (const canvas of [ghost, sheet]) { canvas.width = paper.clientWidth * ratio; canvas.height = paper.clientHeight * ratio; }
      const scale = Math.min((paper.clientWidth - 2 * MARGIN) / Math.max(ink.width_mm, 0.1), (paper.clientHeight - 2 * MARGIN) / Math.max(ink.height_mm, 0.1), 60);
      fit = { ratio, scale, left: (paper.clientWidth - ink.width_mm * scale) / 2, top: (paper.clientHeight - ink.height_mm * scale) / 2 };
      draw(ghost, row, 0, row.length, "#e3eaf1");
      drawn = 0;
      advance();
    }

    const at = (mark) => [fit.left + mark.x * fit.scale, fit.top + mark.y * fit.scale];
    const nib = (mark) => Math.max(1.2, Math.min(9, (0.14 + 0.7 * mark.pressure * mark.pressure) * fit.scale * Math.max(ink.width_mm, 20) / 55));

    function draw(canvas, marks, from, to, colour) {
      const pen = canvas.getContext("2d");
      pen.setTransform(fit.ratio, 0, 0, fit.ratio, 0, 0);
      if (!from) pen.clearRect(0, 0, canvas.width, canvas.height);
      pen.lineCap = pen.lineJoin = "round";
      pen.strokeStyle = colour;
      for (let index = from; index < to; index += 1) {
        const here = at(marks[index]);
        pen.lineWidth = nib(marks[index]);
        pen.beginPath();
        pen.moveTo(...(marks[index].lifted ? here : at(marks[index - 1])));
        pen.lineTo(...here);
        pen.stroke();
      }
    }

    function advance() {
      let reached = row.findIndex((mark) => mark.at > now);
      if (reached < 0) reached = row.length;
      if (reached < drawn) drawn = 0;
      draw(sheet, row, drawn, reached, "#10243a");
      drawn = reached;
      const [last, coming] = [row[Math.max(0, reached - 1)], row[reached]];
      const isDown = Boolean(reached && coming && !coming.lifted);
      const [x, y] = at(last);
      Object.assign(tip.style, { left: `${x}px`, top: `${y}px`, display: now >= total ? "none" : "block" });
      tip.classList.toggle("lifted", !isDown);
      force.style.height = `${isDown ? Math.round(100 * last.pressure) : 0}%`;
      slider.value = now;
      const small = make("small", "", `stroke ${last.number + 1} of ${ink.strokes.length}`);
      small.lang = "en";
      told.replaceChildren(`${seconds(now)} dari ${seconds(total)} dtk · goresan ${last.number + 1} dari ${ink.strokes.length}`, small);
    }

    function seek(moment) { now = Math.min(total, Math.max(0, moment)); advance(); }
    function setSpeed(value) { speed = value; speeds.forEach((button, index) => button.classList.toggle("chosen", SPEEDS[index][0] === value)); }
    function setPlaying(value) {
      playing = value;
      before = null;
      const small = make("small", "", playing ? "Pause" : "Play");
      small.lang = "en";
      play.replaceChildren(playing ? "❚❚ Jeda" : "▶ Putar", small);
      if (playing) requestAnimationFrame(tick);
    }
    function tick(moment) {
      if (!playing || !paper.isConnected) return;
      if (before !== null) seek(now + (speed * (moment - before)) / 1000);
      before = moment;
      if (now >= total) setPlaying(false);
      else requestAnimationFrame(tick);
    }

    slider.addEventListener("input", () => { setPlaying(false); seek(Number(slider.value)); });
    setSpeed(1);
    requestAnimationFrame(() => { layOut(); setPlaying(playing); });
    new ResizeObserver(() => { if (fit && paper.isConnected) layOut(); }).observe(paper);
  };
})();
