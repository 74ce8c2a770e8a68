// Preact with htm: components in plain JavaScript, without a build step.

import { createElement, render } from "preact";
import { useEffect, useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import htm from "htm";

export const html = htm.bind(createElement);

export { render, useEffect, useId, useLayoutEffect, useRef, useState };
