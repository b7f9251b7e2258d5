// The proof of capture: what the resident takes home.
"use strict";

async function draw() {
  const id = new URLSearchParams(location.search).get("id") || "";
  const found = await unit.ask(`/api/captures/${encodeURIComponent(id)}`).catch(() => null);
  if (!found) { unit.fill("#proof-note", unit.note("problem", "alert", "Perekaman ini tidak dikenal di perangkat ini.", "This unit does not know this capture.")); return; }
  const rows = [["Nomor perekaman", found.packet_id], ["Waktu", unit.when(found.kept_ms)], ["Tempat", document.querySelector(".place").textContent], ["Segel data", found.pid.slice(0, 32)]];
  unit.fill("#proof", ...rows.flatMap(([name, value]) => [unit.make("dt", {}, name), unit.make("dd", {}, value)]));
  const confirmed = Boolean(found.disposition);
  unit.fill("#proof-note", confirmed ? unit.note("good", "tick", `Tersimpan di server pusat, nomor ${found.hub_sequence}.`, "Saved on the server is confirmed.")
    : unit.note("advice", "alert", "Tersimpan di perangkat; konfirmasi server menyusul.", "Saved on the unit; the server's confirmation will follow."));
  if (!confirmed) setTimeout(draw, 2000);
}

unit.at("#print").addEventListener("click", () => window.print());
draw();
