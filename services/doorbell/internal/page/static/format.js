// Figures as people read them. Fixed digits, so that they do not jump about as they change.

const whole = new Intl.NumberFormat("en");

export const missing = "–";

export function isNumber(x) {
  return typeof x === "number" && Number.isFinite(x);
}

export function formatCount(n) {
  return whole.format(n);
}

export function formatDecimal(x, digits) {
  return isNumber(x) ? x.toFixed(digits) : missing;
}

const units = ["B", "kB", "MB", "GB", "TB", "PB"];

/** [figure, unit], decimal thousands: [12.3, kB]. */
export function splitBytes(bytes) {
  if (!isNumber(bytes)) return [missing, ""];
  let n = Math.max(0, bytes);
  let unit = 0;
  while (n >= 999.5 && unit < units.length - 1) {
    n /= 1000;
    unit++;
  }
  return [unit === 0 || n >= 99.95 ? n.toFixed(0) : n.toFixed(1), units[unit]];
}

export function formatBytes(bytes) {
  const [figure, unit] = splitBytes(bytes);
  return unit ? `${figure} ${unit}` : figure;
}

export function formatRate(bytesPerSecond) {
  return isNumber(bytesPerSecond) ? `${formatBytes(bytesPerSecond)}/s` : missing;
}

export function formatAge(ms) {
  const s = ms / 1000;
  if (s < 10) return `${s.toFixed(1)} s old`;
  if (s < 60) return `${Math.floor(s)} s old`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s old`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min old`;
}

export function formatUptime(s) {
  if (!isNumber(s)) return "";
  const days = Math.floor(s / 86_400);
  const hours = Math.floor((s % 86_400) / 3600);
  const minutes = Math.floor((s % 3600) / 60);
  if (days > 0) return `up ${days} d ${hours} h`;
  return hours > 0 ? `up ${hours} h ${minutes} min` : `up ${minutes} min`;
}

/** 14:03:07.214, the reader's own time. */
export function formatTime(date) {
  const two = (n) => String(n).padStart(2, "0");
  const ms = String(date.getMilliseconds()).padStart(3, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${ms}`;
}
