// Signature fields: ink of a pad beside the screen, or the screen itself as the pad.
"use strict";

const pen = {
  FLUSH_MS: 80, KEEP_ALIVE_MS: 300, BATCH_MAX: 150, PALM_PX: 48,

  // A canvas that shows the signature in progress. path: of the API; busy: whether one is being taken; alive: whether the
  // canvas is still shown.
  field(path, busy, alive) {
    const canvas = unit.make("canvas", { class: "pen", "aria-label": "Bidang tanda tangan (signature field)" });
    if (document.body.dataset.pad === "screen") pen.screen(canvas, path, busy, alive);
    else pen.watch(canvas, path, busy, alive);
    return canvas;
  },

  async watch(canvas, path, busy, alive) {
    let points = [];
    await unit.pause(50);
    while (alive(canvas)) {
      const found = busy() ? await unit.ask(`${path}?after=${points.length}`).catch(() => null) : null;
      if (!busy()) points = [];
      if (found?.points.length) { points = [...points.slice(0, found.first), ...found.points]; unit.ink(canvas, points); }
      await unit.pause(130);
    }
  },

  // The screen is the pad: the pointer's reports are drawn at once and sent in order, a batch until it has arrived.
  // One pointer writes. A pen goes before fingers, and once a pen was seen fingers are palms. A contact as broad as a
  // palm, a second finger and whatever the system withdraws leave no ink.
  async screen(canvas, path, busy, alive) {
    const field = { strokes: [], waiting: [], writer: null, sawPen: false, stream: 0, sequence: 0, last: null, was: false };
    canvas.classList.add("screen");
    const on = (name, handle) => canvas.addEventListener(name, (event) => { event.preventDefault(); handle(event); });
    on("pointerdown", (event) => pen.down(canvas, field, event, busy()));
    on("pointermove", (event) => pen.move(canvas, field, event));
    on("pointerup", (event) => pen.up(canvas, field, event));
    on("pointercancel", (event) => { if (event.pointerId === field.writer) pen.withdraw(canvas, field, event.timeStamp); });
    on("lostpointercapture", (event) => pen.up(canvas, field, event));
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    await unit.pause(20);
    while (alive(canvas)) {
      const now = busy();
      if (now && !field.was) pen.begin(canvas, field);
      if (!now) field.writer = null;
      field.was = now;
      canvas.classList.toggle("open", now);
      if (now) await pen.send(field, path);
      await unit.pause(pen.FLUSH_MS);
    }
  },

  begin(canvas, field) {
    Object.assign(field, { strokes: [], waiting: [], writer: null, sawPen: false, sequence: 0, last: null });
    [field.stream] = crypto.getRandomValues(new Uint32Array(1));
    pen.draw(canvas, field);
  },

  isPalm: (field, event) => event.pointerType === "touch" && (field.sawPen || Math.max(event.width, event.height) > pen.PALM_PX),

  down(canvas, field, event, open) {
    if (!open || !field.stream || event.button > 0) return;
    if (event.pointerType === "pen") field.sawPen = true;
    else if (field.writer !== null || pen.isPalm(field, event)) return;
    if (field.writer !== null) pen.withdraw(canvas, field, event.timeStamp);
    field.writer = event.pointerId;
    try { canvas.setPointerCapture(event.pointerId); } catch { /* the pointer has left already */ }
    field.strokes.push([]);
    pen.report(canvas, field, event, 1);
  },

  move(canvas, field, event) {
    if (event.pointerId !== field.writer) return;
    if (pen.isPalm(field, event)) { pen.withdraw(canvas, field, event.timeStamp); return; }
    const finer = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
    for (const each of finer.length ? finer : [event]) pen.report(canvas, field, each, 1);
  },

  up(canvas, field, event) {
    if (event.pointerId !== field.writer) return;
    field.writer = null;
    pen.report(canvas, field, event, 0);
  },

  withdraw(canvas, field, time) {
    field.writer = null;
    field.strokes.pop();
    if (field.last) field.waiting.push({ ...field.last, t: time, s: 2 });
    pen.draw(canvas, field);
  },

  report(canvas, field, event, state) {
    const box = canvas.getBoundingClientRect();
    const within = (value, size) => Math.round(Math.min(Math.max(value, 0), size) * 100) / 100;
    const found = { x: within(event.clientX - box.left, box.width), y: within(event.clientY - box.top, box.height),
      p: state ? Math.round(Math.min(Math.max(event.pressure, 0), 1) * 1000) / 1000 : 0, t: Math.max(0, event.timeStamp), s: state };
    field.last = found;
    field.waiting.push(found);
    if (!state) return;
    const stroke = field.strokes[field.strokes.length - 1];
    const before = stroke[stroke.length - 1];
    stroke.push(found);
    if (before) pen.line(canvas.getContext("2d"), before, found);
  },

  line(ink, from, to) {
    ink.lineCap = "round"; ink.strokeStyle = "#10243a"; ink.lineWidth = 2.2 + 4.5 * (to.p || 0.5);
    ink.beginPath(); ink.moveTo(from.x, from.y); ink.lineTo(to.x, to.y); ink.stroke();
  },

  draw(canvas, field) {
    const sharp = window.devicePixelRatio || 1;
    canvas.width = Math.round(canvas.clientWidth * sharp); canvas.height = Math.round(canvas.clientHeight * sharp);
    const ink = canvas.getContext("2d");
    ink.scale(sharp, sharp);
    for (const stroke of field.strokes) for (let at = 1; at < stroke.length; at += 1) pen.line(ink, stroke[at - 1], stroke[at]);
  },

  async send(field, path) {
    const { last } = field;
    // A pointer that rests sends nothing by itself, and the unit would take the rest for the end of the signature.
    if (field.writer !== null && last && performance.now() - last.t > pen.KEEP_ALIVE_MS) {
      field.last = { ...last, t: performance.now() };
      field.waiting.push(field.last);
    }
    while (field.waiting.length) {
      const { stream, sequence } = field;
      const reports = field.waiting.slice(0, pen.BATCH_MAX);
      try { await unit.ask(path, { stream, sequence, screen_px: Math.max(200, window.screen.width), reports }); }
      catch (error) { if (!error.status || error.status >= 500) return; }
      if (field.stream !== stream) return;
      field.waiting.splice(0, reports.length);
      field.sequence += 1;
    }
  },
};
