// Shared by the unit's pages: asking the unit, following a snapshot, and building elements without markup in strings.
"use strict";

const unit = {
  async ask(path, body) {
    const options = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    const answer = await fetch(path, { credentials: "same-origin", ...options });
    const content = await answer.json().catch(() => ({ message: "The unit gave no answer.", next_step: "" }));
    if (!answer.ok) throw Object.assign(new Error(content.message || "refused"), { status: answer.status, content });
    return content;
  },

  // Long-polls a snapshot and hands every new revision to `show`; `show(null)` where there is none.
  async follow(path, show) {
    let after = 0;
    for (;;) {
      try {
        const found = await unit.ask(`${path}?after=${after}&wait_s=25`);
        if (found.revision !== after) { after = found.revision; show(found); }
      } catch (error) {
        if (error.status === 404) { if (after !== -1) show(null); after = -1; } else { unit.lamp(false); }
        await unit.pause(700);
        if (after === -1) { const again = await unit.ask(path).catch(() => null); if (again) { after = again.revision; show(again); } }
      }
    }
  },

  pause: (ms) => new Promise((done) => setTimeout(done, ms)),
  at: (selector) => document.querySelector(selector),
  all: (selector) => [...document.querySelectorAll(selector)],

  make(name, attributes = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "class") element.className = value;
      else if (key === "on") element.addEventListener("click", value);
      else if (value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  },

  both: (id, en) => [id, unit.make("small", { lang: "en" }, en)],
  button: (id, en, kind, on) => unit.make("button", { class: kind, type: "button", on }, ...unit.both(id, en)),

  fill(selector, ...children) {
    const element = typeof selector === "string" ? unit.at(selector) : selector;
    if (element) element.replaceChildren(...children.filter((child) => child !== null && child !== undefined));
    return element;
  },

  lamp(on, text, more) {
    const lamp = unit.at("#lamp");
    if (!lamp) return;
    lamp.className = `lamp ${on ? "on" : "off"}`;
    lamp.lastElementChild.textContent = text || (on ? "Terhubung" : "Luring");
    lamp.lastElementChild.dataset.more = more ? ` · ${more}` : "";
  },

  age(seconds) {
    if (seconds < 60) return `${Math.round(seconds)} dtk`;
    if (seconds < 3600) return `${Math.round(seconds / 60)} mnt`;
    return seconds < 172800 ? `${(seconds / 3600).toFixed(1)} jam` : `${Math.round(seconds / 86400)} hari`;
  },

  when: (ms) => new Date(ms).toLocaleString("id-ID", { dateStyle: "medium", timeStyle: "short" }),

  steps(steps) {
    return steps.map((step) => unit.make("li", { class: step.state }, step.title_id, unit.make("small", { lang: "en" }, step.title_en)));
  },

  fields: (biodata) => [["NIK", biodata.nik], ["Nama", biodata.name], ["Tempat, tanggal lahir", `${biodata.birth_place}, ${biodata.birth_date}`],
      ["Jenis kelamin", biodata.sex], ["Golongan darah", biodata.blood_type], ["Alamat", biodata.address], ["RT/RW", biodata.rt_rw],
      ["Desa/Kelurahan", biodata.village], ["Kecamatan", biodata.district], ["Kabupaten/Kota", biodata.regency], ["Provinsi", biodata.province],
      ["Agama", biodata.religion], ["Status perkawinan", biodata.marital_status], ["Pekerjaan", biodata.occupation], ["Kewarganegaraan", biodata.nationality]],

  facts(biodata, big) {
    return unit.make("dl", { class: big ? "facts big" : "facts" }, ...unit.fields(biodata).flatMap(([name, value]) => [unit.make("dt", {}, name), unit.make("dd", {}, value)]));
  },

  icon(name, kind = "") {
    const paths = {
      tick: "M20 52 L42 74 L82 26", cross: "M26 26 L76 76 M76 26 L26 76", alert: "M50 14 L90 84 H10 Z M50 40 V60 M50 70 V74",
      hand: "M30 84 V44 M42 84 V26 M54 84 V22 M66 84 V28 M78 84 V42", card: "M12 26 H88 V76 H12 Z M12 42 H88 M22 60 H48",
    };
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 100 100");
    if (kind) svg.setAttribute("class", kind);
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    for (const [key, value] of Object.entries({ d: paths[name], fill: "none", stroke: "currentColor", "stroke-width": 9, "stroke-linecap": "round", "stroke-linejoin": "round" })) path.setAttribute(key, value);
    svg.append(path);
    return svg;
  },

  badge: (kind, icon) => unit.make("div", { class: `badge ${kind}` }, unit.icon(icon)),
  note: (kind, icon, id, en) => unit.make("div", { class: `note ${kind}`, role: "status" }, unit.icon(icon), unit.make("div", {}, id, unit.make("small", { lang: "en" }, en || ""))),
  // What became of a piece of paper, with a button to print it again; null where this unit prints none.
  paper(ticket, again) {
    if (!ticket) return null;
    if (ticket.state === "printing") return unit.note("advice", "hand", "Sedang mencetak …", "Printing …");
    const note = ticket.state === "printed" ? unit.note("good", "tick", "Kertas sudah dicetak.", "Printed.") : unit.note("advice", "alert", ticket.message_id, ticket.message_en);
    note.append(unit.button("Cetak ulang", "Print again", "", again));
    return note;
  },

  tell(error) {
    const note = unit.note("problem", "alert", error.content?.next_step || "", error.content?.message || error.message);
    if (["SIGN_ON_FIRST", "OPERATOR_REVOKED"].includes(error.content?.code)) note.append(unit.make("a", { class: "button", href: `/officers?next=${document.body.dataset.page}` }, ...unit.both("Masuk", "Sign on")));
    return note;
  },

  // Strokes of a signature pad, fitted into a canvas.
  ink(canvas, points) {
    const pen = canvas.getContext("2d");
    canvas.width = canvas.clientWidth; canvas.height = canvas.clientHeight;
    pen.clearRect(0, 0, canvas.width, canvas.height);
    if (!points.length) return;
    const [xs, ys] = [points.map((p) => p[0]), points.map((p) => p[1])];
    const [left, top] = [Math.min(...xs), Math.min(...ys)];
    const scale = Math.min((canvas.width - 60) / Math.max(1, Math.max(...xs) - left), (canvas.height - 60) / Math.max(1, Math.max(...ys) - top));
    pen.lineCap = "round"; pen.strokeStyle = "#10243a";
    let before = null;
    for (const [x, y, pressure, down] of points) {
      const here = [30 + (x - left) * scale, 30 + (y - top) * scale];
      if (down && before) { pen.lineWidth = 2 + 5 * (pressure / 65535); pen.beginPath(); pen.moveTo(...before); pen.lineTo(...here); pen.stroke(); }
      before = down ? here : null;
    }
  },

  // A live picture: two frames are asked for ahead, one on its way from the camera and one on its way to the page, while
  // the one before is decoded and shown, up to thirty a second. A frame that does not come, because the camera takes the
  // photo just then, leaves the one before standing.
  async live(image, path, alive) {
    const ask = () => fetch(path, { credentials: "same-origin", cache: "no-store" }).catch(() => null);
    let shown = "", failures = 0, asked = performance.now();
    const coming = [ask(), ask()];
    while (alive()) {
      const answer = await coming.shift();
      if (answer?.status === 404) break; // this device has no live picture
      await unit.pause(failures > 5 ? 600 : Math.max(0, 33 - (performance.now() - asked)));
      if (!alive()) break;
      asked = performance.now();
      coming.push(ask());
      try {
        if (!answer?.ok) throw new Error("no picture");
        const next = URL.createObjectURL(await answer.blob());
        image.src = next;
        await image.decode();
        URL.revokeObjectURL(shown);
        image.hidden = false;
        shown = next; failures = 0;
      } catch { failures += 1; }
    }
    URL.revokeObjectURL(shown);
  },

  // Who is signed on for this page's work, kept up to date while `alive()`; without anybody nothing can be started.
  async signedOn(roles, alive) {
    for (;;) {
      const found = alive() ? await unit.ask("/api/sign-on").catch(() => null) : null;
      if (found) {
        const officer = found.officer && found.officer.roles.some((role) => roles.includes(role)) ? found.officer : null;
        const place = unit.at("#signed-on");
        unit.at("#operator").value = officer ? officer.operator : "";
        for (const button of unit.all("#start-form button[type=submit]")) button.disabled = !officer;
        const link = (id, en, kind) => unit.make("a", { class: `button ${kind}`, href: `/officers?next=${place.dataset.next}` }, ...unit.both(id, en));
        place.className = officer ? "signed-on" : "signed-on nobody";
        unit.fill(place, unit.icon(officer ? "tick" : "hand"), unit.make("div", {}, officer ? officer.name : "Belum ada petugas yang masuk", unit.make("small", { lang: officer ? undefined : "en" }, officer ? "petugas yang bertugas" : "Nobody is signed on for this work")),
          officer ? link("Ganti", "Change", "") : link("Masuk", "Sign on", "primary"));
      }
      await unit.pause(3000);
    }
  },

  async watch() {
    for (;;) {
      const status = await unit.ask("/api/status").catch(() => null);
      const on = status?.uplink?.queue === "CONNECTED";
      unit.lamp(on, status ? "" : "Perangkat tidak menjawab", status && !on ? "data disimpan di perangkat" : "");
      await unit.pause(4000);
    }
  },
};

if (document.getElementById("lamp")) unit.watch();

// While a technician tests the unit from afar every page says so: a camera may look at whoever stands there.
(async () => {
  const bar = unit.make("div", { class: "technician-bar", role: "alert", hidden: true }, unit.icon("alert"), unit.make("div", {}));
  document.body.prepend(bar);
  let known = "";
  for (;;) {
    try {
      const found = await unit.ask(`/api/technician?known=${encodeURIComponent(known)}&wait_s=25`);
      known = found.technician;
      bar.hidden = !known;
      unit.fill(bar.lastElementChild, unit.make("strong", {}, "Teknisi sedang memeriksa perangkat ini dari jauh."), " Kamera dapat menyala: mohon menjauh dari kamera sebentar.",
        unit.make("small", { lang: "en" }, `A technician (${known}) is testing this unit from afar. Cameras may take pictures: please step aside for a moment.`));
    } catch { await unit.pause(2000); }
  }
})();
