"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const view = JSON.parse($("view").textContent);
  const [depth, height, width] = view.shape;
  const frame = $("frame"), canvas = $("picture"), slider = $("slice"), profile = $("profile");
  const context = canvas.getContext("2d");
  const NAMES = ["Axial", "Coronal", "Sagittal"], LETTERS = ["z", "y", "x"];
  // The patient's sides, as on a radiologist's screen: [top, right, bottom, left].
  const EDGES = [["A", "L", "P", "R"], ["H", "L", "F", "R"], ["H", "P", "F", "A"]];
  // A plane's pixels: the step to the next one right and down, and whether the first row is the last slice.
  const PLANES = [
    { across: 2, down: 1, flip: false }, { across: 2, down: 0, flip: true }, { across: 1, down: 0, flip: true },
  ];
  const STRIDES = [height * width, width, 1];
  const mm = view.millimetres;
  let grey, labels, profiles, axis = 0, ready = false, pending = false;
  const at = [...view.start];
  const shown = view.masks.map((_, bit) => document.querySelector(`input[data-mask="${bit}"]`).checked);
  // The label lies on top of what was found. The float model's outline is dashed: it mostly runs along the secure one.
  const ORDER = ["lung", "secure", "float", "truth"].map((key) => view.masks.indexOf(key)).filter((bit) => bit >= 0);
  let hidden = false;

  async function unpack(id) {
    const text = atob($(id).textContent);
    const bytes = new Uint8Array(text.length);
    for (let k = 0; k < text.length; k++) bytes[k] = text.charCodeAt(k);
    $(id).remove();
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  function undoDifferences(values) {
    for (let k = 0; k < values.length; k++) if (k % width) values[k] = values[k] + values[k - 1];
  }

  // How much of each mask lies in each slice, along each axis: [mask][axis][slice].
  function count() {
    const sums = view.masks.map(() => view.shape.map((n) => new Uint32Array(n)));
    let k = 0;
    for (let z = 0; z < depth; z++) for (let y = 0; y < height; y++) for (let x = 0; x < width; x++, k++) {
      const label = labels[k];
      if (!label) continue;
      for (let mask = 0; mask < sums.length; mask++) if (label >> mask & 1) {
        sums[mask][0][z]++; sums[mask][1][y]++; sums[mask][2][x]++;
      }
    }
    return sums;
  }

  const source = (a, k) => a ? k * view.steps[a] : view.slices[k];
  const segmented = (a, k) => {
    const [low, high] = view.region[a], from = source(a, k);
    return from < high && (a ? from + view.steps[a] : from + 1) > low;
  };

  function colour(key) {
    return getComputedStyle(document.querySelector(".swatch." + key)).color;
  }

  // An off-screen picture of the plane, filled by a function of the voxel's place.
  function paint(plane, fill) {
    const [w, h] = [view.shape[plane.across], view.shape[plane.down]];
    const sheet = document.createElement("canvas");
    sheet.width = w; sheet.height = h;
    const pen = sheet.getContext("2d"), image = pen.createImageData(w, h);
    for (let i = 0, p = 0; i < h; i++) {
      let place = at[axis] * STRIDES[axis] + (plane.flip ? h - 1 - i : i) * STRIDES[plane.down];
      for (let j = 0; j < w; j++, p += 4, place += STRIDES[plane.across]) fill(image.data, p, place);
    }
    pen.putImageData(image, 0, 0);
    return sheet;
  }

  function shades() {
    const brightness = slider_value("brightness") / 100, contrast = slider_value("contrast") / 100;
    const [low, span] = windowed();
    return Uint8ClampedArray.from({ length: view.levels }, (_, k) => {
      const share = Math.min(1, Math.max(0, (k / (view.levels - 1) - low) / span));
      return 255 * ((share - 0.5) * contrast + 0.5 + brightness);
    });
  }
  // The chosen window on the volume's own scale: where it begins, and how much of the scale it is.
  function windowed() {
    if (!view.hu || !$("window").value) return [0, 1];
    const [width, level] = $("window").value.split(",").map(Number), [least, most] = view.hu;
    return [(level - width / 2 - least) / (most - least), width / (most - least)];
  }
  const slider_value = (id) => Number($(id).value);

  function outline(plane, bit, box) {
    const [w, h] = [view.shape[plane.across], view.shape[plane.down]];
    const base = at[axis] * STRIDES[axis];
    const inside = (i, j) => i >= 0 && j >= 0 && i < h && j < w &&
      labels[base + (plane.flip ? h - 1 - i : i) * STRIDES[plane.down] + j * STRIDES[plane.across]] >> bit & 1;
    const X = (j) => box.x + j * box.w / w, Y = (i) => box.y + i * box.h / h;
    context.beginPath();
    for (let i = 0; i < h; i++) for (let j = 0; j < w; j++) if (inside(i, j)) {
      if (!inside(i - 1, j)) { context.moveTo(X(j), Y(i)); context.lineTo(X(j + 1), Y(i)); }
      if (!inside(i + 1, j)) { context.moveTo(X(j), Y(i + 1)); context.lineTo(X(j + 1), Y(i + 1)); }
      if (!inside(i, j - 1)) { context.moveTo(X(j), Y(i)); context.lineTo(X(j), Y(i + 1)); }
      if (!inside(i, j + 1)) { context.moveTo(X(j + 1), Y(i)); context.lineTo(X(j + 1), Y(i + 1)); }
    }
    context.stroke();
  }

  // The plane as large as the frame lets it be, its millimetres alike both ways, in the middle.
  function fit(plane) {
    const tall = view.shape[plane.down] * mm[plane.down], broad = view.shape[plane.across] * mm[plane.across];
    const scale = Math.min(canvas.width / broad, canvas.height / tall);
    const w = broad * scale, h = tall * scale;
    return { x: (canvas.width - w) / 2, y: (canvas.height - h) / 2, w, h };
  }

  // A position along an axis of the plane, given as an index of the volume before it was cut down, as a place in the box.
  function place(plane, box, a, index) {
    const share = (index - view.first[a]) / view.steps[a] / view.shape[a];
    const bounded = Math.min(1, Math.max(0, share));
    if (a === plane.across) return box.x + bounded * box.w;
    return box.y + (plane.flip ? 1 - bounded : bounded) * box.h;
  }

  function veil(plane, box) {
    context.fillStyle = "rgba(0, 0, 0, 0.5)";
    if (!segmented(axis, at[axis])) return context.fillRect(box.x, box.y, box.w, box.h);
    const [x0, x1] = view.region[plane.across].map((k) => place(plane, box, plane.across, k));
    const [y0, y1] = view.region[plane.down].map((k) => place(plane, box, plane.down, k)).sort((a, b) => a - b);
    if (x0 <= box.x && y0 <= box.y && x1 >= box.x + box.w - 1 && y1 >= box.y + box.h - 1) return;
    context.beginPath();
    context.rect(box.x, box.y, box.w, box.h);
    context.rect(x0, y0, x1 - x0, y1 - y0);
    context.fill("evenodd");
    context.strokeStyle = "rgba(255, 255, 255, 0.55)";
    context.lineWidth = ratio();
    context.setLineDash([4 * ratio(), 4 * ratio()]);
    context.strokeRect(x0, y0, x1 - x0, y1 - y0);
    context.setLineDash([]);
  }

  const ratio = () => Math.min(2, window.devicePixelRatio || 1);

  function draw() {
    pending = false;
    const plane = PLANES[axis], box = fit(plane), lut = shades();
    context.fillStyle = "#000";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    context.drawImage(paint(plane, (data, p, k) => {
      data[p] = data[p + 1] = data[p + 2] = lut[grey[k]];
      data[p + 3] = 255;
    }), box.x, box.y, box.w, box.h);
    veil(plane, box);
    if (!hidden) {
      if (shown[0]) {
        const [r, g, b] = colour(view.masks[0]).match(/\d+/g).map(Number);
        const alpha = Math.round(2.55 * slider_value("opacity"));
        context.imageSmoothingEnabled = false;
        context.drawImage(paint(plane, (data, p, k) => {
          if (!(labels[k] & 1)) return;
          data[p] = r; data[p + 1] = g; data[p + 2] = b; data[p + 3] = alpha;
        }), box.x, box.y, box.w, box.h);
      }
      for (const bit of ORDER) if (shown[bit]) {
        context.strokeStyle = colour(view.masks[bit]);
        context.lineWidth = (bit ? 1.5 : 1) * ratio();
        context.setLineDash(bit && view.masks[bit] === "float" ? [4 * ratio(), 4 * ratio()] : []);
        outline(plane, bit, box);
      }
      context.setLineDash([]);
    }
    if ($("cross").checked) cross(plane, box);
    $("badge").hidden = segmented(axis, at[axis]);
    drawProfile();
  }

  function cross(plane, box) {
    const x = box.x + (at[plane.across] + 0.5) / view.shape[plane.across] * box.w;
    const part = (at[plane.down] + 0.5) / view.shape[plane.down];
    const y = box.y + (plane.flip ? 1 - part : part) * box.h;
    context.strokeStyle = "rgba(255, 255, 255, 0.6)";
    context.lineWidth = ratio();
    context.beginPath();
    context.moveTo(box.x, y); context.lineTo(box.x + box.w, y);
    context.moveTo(x, box.y); context.lineTo(x, box.y + box.h);
    context.stroke();
  }

  // Where along the slider there is something to see: the masks' areas, slice by slice.
  function drawProfile() {
    const pen = profile.getContext("2d"), n = view.shape[axis];
    pen.clearRect(0, 0, profile.width, profile.height);
    const lines = view.masks.map((mask, bit) => bit).filter((bit) => view.masks[bit] !== "lung" && shown[bit]);
    const most = Math.max(1, ...lines.map((bit) => profiles[bit][axis].reduce((a, b) => Math.max(a, b), 0)));
    const X = (k) => n > 1 ? k / (n - 1) * profile.width : profile.width / 2;
    for (const bit of lines) {
      pen.strokeStyle = pen.fillStyle = colour(view.masks[bit]);
      pen.lineWidth = 1.25 * ratio();
      pen.beginPath();
      profiles[bit][axis].forEach((area, k) => {
        const y = profile.height - 1 - area / most * (profile.height - 2);
        if (k) pen.lineTo(X(k), y); else pen.moveTo(X(k), y);
      });
      pen.stroke();
      if (bit) continue;
      pen.lineTo(X(n - 1), profile.height);
      pen.lineTo(X(0), profile.height);
      pen.globalAlpha = 0.35;
      pen.fill();
      pen.globalAlpha = 1;
    }
  }

  function redraw() {
    if (!ready || pending) return;
    pending = true;
    requestAnimationFrame(draw);
  }

  function resize() {
    for (const sheet of [canvas, profile]) {
      const { width: w, height: h } = sheet.getBoundingClientRect();
      sheet.width = Math.max(1, Math.round(w * ratio()));
      sheet.height = Math.max(1, Math.round(h * ratio()));
    }
    redraw();
  }

  function go(index) {
    at[axis] = Math.max(0, Math.min(view.shape[axis] - 1, index));
    slider.value = at[axis];
    const last = view.source[axis] - 1;
    $("where").textContent = `${LETTERS[axis]} ${source(axis, at[axis])} of 0\u2013${last}`;
    const text = `${NAMES[axis]} slice, ${LETTERS[axis]} = ${source(axis, at[axis])} of 0 to ${last}`;
    slider.setAttribute("aria-valuetext", text);
    canvas.setAttribute("aria-label", text + (segmented(axis, at[axis]) ? "" : ", not segmented"));
    redraw();
  }

  function turn(to) {
    axis = to;
    slider.max = view.shape[axis] - 1;
    ["top", "right", "bottom", "left"].forEach((side, k) => { $("edge-" + side).textContent = view.oriented ? EDGES[axis][k] : ""; });
    go(at[axis]);
  }

  // The voxel under a pointer, as an index for each axis; null beside the picture.
  function under(event) {
    const plane = PLANES[axis], box = fit(plane), there = canvas.getBoundingClientRect();
    const u = ((event.clientX - there.left) * canvas.width / there.width - box.x) / box.w;
    const v = ((event.clientY - there.top) * canvas.height / there.height - box.y) / box.h;
    if (u < 0 || v < 0 || u >= 1 || v >= 1) return null;
    const voxel = [...at];
    voxel[plane.across] = Math.floor(u * view.shape[plane.across]);
    voxel[plane.down] = Math.floor((plane.flip ? 1 - v : v) * view.shape[plane.down]);
    return voxel;
  }

  function listen() {
    slider.addEventListener("input", () => go(Number(slider.value)));
    document.querySelectorAll("input[name=axis]").forEach((radio) =>
      radio.addEventListener("change", () => turn(Number(radio.value))));
    document.querySelectorAll("input[data-mask]").forEach((box) => box.addEventListener("change", () => {
      shown[Number(box.dataset.mask)] = box.checked;
      redraw();
    }));
    for (const id of ["opacity", "brightness", "contrast", "cross"]) $(id).addEventListener("input", redraw);
    if (view.hu) $("window").addEventListener("change", redraw);
    $("reset").addEventListener("click", () => {
      if (view.hu) $("window").value = "";
      for (const id of ["opacity", "brightness", "contrast"]) $(id).value = $(id).defaultValue;
      redraw();
    });

    if (document.fullscreenEnabled) {
      $("large").hidden = false;
      // Its presses are no clicks into the picture.
      $("large").addEventListener("pointerdown", (event) => event.stopPropagation());
      $("large").addEventListener("click", () => document.fullscreenElement ? document.exitFullscreen() : frame.requestFullscreen());
      document.addEventListener("fullscreenchange", () => {
        $("large").textContent = document.fullscreenElement ? "Leave full screen" : "Full screen";
        frame.focus();
      });
    }

    const KEYS = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10 };
    frame.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key in KEYS) go(at[axis] + KEYS[event.key]);
      else if (event.key === "Home") go(0);
      else if (event.key === "End") go(view.shape[axis] - 1);
      else return;
      event.preventDefault();
    });
    document.addEventListener("keydown", (event) => {
      if (event.key.toLowerCase() !== "m" || event.ctrlKey || event.metaKey || event.altKey) return;
      hidden = !hidden;
      redraw();
    });

    // One notch of a wheel is one slice; a touch pad's small steps add up. At either end the page scrolls on.
    let turned = 0;
    frame.addEventListener("wheel", (event) => {
      if (event.ctrlKey) return;
      const delta = event.deltaY * (event.deltaMode ? 33 : 1);
      const step = delta > 0 ? -1 : 1;
      if (at[axis] + step < 0 || at[axis] + step >= view.shape[axis]) return;
      event.preventDefault();
      turned = Math.sign(turned) === Math.sign(delta) ? turned + delta : delta;
      if (Math.abs(turned) < 30) return;
      turned = 0;
      go(at[axis] + step);
    }, { passive: false });

    let drag = null;
    frame.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      drag = { x: event.clientX, y: event.clientY, from: at[axis], moved: false };
      if (event.pointerType === "mouse") frame.setPointerCapture(event.pointerId);
    });
    frame.addEventListener("pointermove", (event) => {
      if (drag) {
        const far = event.clientX - drag.x;
        drag.moved ||= Math.hypot(far, event.clientY - drag.y) > 5;
        const step = Math.max(4, canvas.getBoundingClientRect().width / view.shape[axis]);
        if (drag.moved) go(drag.from + Math.round(far / step));
      }
      const voxel = under(event);
      $("pointer").textContent = voxel
        ? "Under the pointer: " + voxel.map((k, a) => `${LETTERS[a]} ${source(a, k)}`).join(", ") : "\u00a0";
    });
    frame.addEventListener("pointerup", (event) => {
      const voxel = drag && !drag.moved && under(event);
      drag = null;
      if (!voxel) return;
      voxel.forEach((k, a) => { at[a] = k; });
      redraw();
    });
    frame.addEventListener("pointercancel", () => { drag = null; });
    frame.addEventListener("pointerleave", () => { $("pointer").textContent = "\u00a0"; });
    new ResizeObserver(resize).observe(frame);
    // Printing and another colour scheme change the size or the colours.
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  }

  async function start() {
    if (typeof DecompressionStream === "undefined") {
      $("status").textContent = "This browser is too old to unpack the slices: it lacks DecompressionStream, which "
        + "Chromium has from 80, Firefox from 113, Safari from 16.4.";
      return;
    }
    [grey, labels] = await Promise.all([unpack("grey"), unpack("labels")]);
    undoDifferences(grey);
    profiles = count();
    ready = true;
    $("status").hidden = true;
    listen();
    // A page that is loaded again keeps its switches where they were.
    turn(Number(document.querySelector("input[name=axis]:checked").value));
    document.documentElement.dataset.ready = "yes";
  }

  start().catch((error) => { $("status").textContent = "The slices cannot be unpacked: " + error.message; });
})();
