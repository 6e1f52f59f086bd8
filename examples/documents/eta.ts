// Arrival windows (ADR-012): from a ship's last known place to an honest interval, or to a reason for none.

export interface Fix {
  lat: number;
  lon: number;
  speedKn: number;
  at: number; // milliseconds since the epoch, UTC
}

export interface Quantiles {
  p10: number;
  p50: number;
  p90: number;
}

export interface PortCall {
  lat: number;
  lon: number;
  routeFactor: number; // sailed distance ÷ straight distance, learned per approach
  dwellHours: Quantiles; // time between the roads and the berth
}

export type EtaWindow =
  | { kind: "window"; earliest: number; latest: number }
  | { kind: "none"; reason: "too_wide" | "no_vessel" };

const HOUR = 3_600_000;
const EARTH_RADIUS_NM = 3440.065;

/** Wider than this and a window says nothing a planner could use; 48 until 16 June 2026. */
export const MAX_WINDOW_HOURS = 60;

/** A fix older than this is treated as if the ship had gone missing. */
export const MAX_FIX_AGE_HOURS = 12;

const radians = (degrees: number): number => (degrees * Math.PI) / 180;

/** Shortest way over the globe between two places, in nautical miles (haversine). */
export function greatCircleNm(
  a: { lat: number; lon: number },
  b: { lat: number; lon: number },
): number {
  const dLat = radians(b.lat - a.lat);
  const dLon = radians(b.lon - a.lon);
  const h =
    Math.sin(dLat / 2) ** 2 +
    Math.cos(radians(a.lat)) * Math.cos(radians(b.lat)) * Math.sin(dLon / 2) ** 2;
  return 2 * EARTH_RADIUS_NM * Math.asin(Math.min(1, Math.sqrt(h)));
}

/**
 * Speeds to reckon with, in knots. A ship that waits at anchor reports almost zero; taking that literally
 * would put its arrival years away, so anything below four knots falls back to the usual speed of the class.
 */
export function speedQuantiles(recentKn: readonly number[], classKn: number): Quantiles {
  const moving = recentKn.filter((kn) => kn >= 4).sort((x, y) => x - y);
  if (moving.length < 6) {
    return { p10: classKn * 0.8, p50: classKn, p90: classKn * 1.1 };
  }
  const at = (q: number): number => moving[Math.floor(q * (moving.length - 1))];
  return { p10: at(0.1), p50: at(0.5), p90: at(0.9) };
}

/** Rounds outwards, never inwards; a bound that already lies on the full hour stays where it is. */
export function roundOutwards(earliest: number, latest: number): [number, number] {
  return [Math.floor(earliest / HOUR) * HOUR, Math.ceil(latest / HOUR) * HOUR];
}

/** The window for one container, assuming that it stays on the ship it is on. */
export function etaWindow(
  fix: Fix | null,
  port: PortCall,
  recentKn: readonly number[],
  classKn: number,
  now: number,
): EtaWindow {
  if (fix === null || now - fix.at > MAX_FIX_AGE_HOURS * HOUR) {
    return { kind: "none", reason: "no_vessel" };
  }
  const distance = greatCircleNm(fix, port) * port.routeFactor;
  const speed = speedQuantiles(recentKn, classKn);

  // The fast ship meets the short queue and the slow ship the long one: wider than the truth, on purpose,
  // because bad weather slows the ship and closes the berth on the same day.
  const [earliest, latest] = roundOutwards(
    fix.at + (distance / speed.p90 + port.dwellHours.p10) * HOUR,
    fix.at + (distance / speed.p10 + port.dwellHours.p90) * HOUR,
  );
  if (latest - earliest > MAX_WINDOW_HOURS * HOUR) {
    return { kind: "none", reason: "too_wide" };
  }
  return { kind: "window", earliest, latest };
}
